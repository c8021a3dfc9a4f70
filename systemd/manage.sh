#!/bin/sh
# Installs, upgrades and removes the service; `make install` and `make uninstall` call it, as root.
#   manage.sh install     PYTHON=/usr/bin/python3 names the interpreter; RESTART=no leaves a running daemon alone
#   manage.sh uninstall   removes all but the data and the configuration
#
# versions/NAME     a virtual environment for each version; `current` is a symlink to the one in use
# extensions/       packages of yours, found by every version
set -eu
umask 022
home=/opt/scheduler-daemon
configuration=/etc/scheduler-daemon
units=/usr/local/lib/systemd/system
service=scheduler-daemon.service
source=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
fail() {
  printf '%s\n' "$*" >&2
  exit 1
}
systemd_runs() { [ -d /run/systemd/system ]; }

install_all() {
  check_python
  version=$("$PYTHON" -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1], "rb"))["project"]["version"])' \
    "$source/pyproject.toml")-$(date -u +%Y%m%dT%H%M%SZ)
  folder=$home/versions/$version
  previous=$(readlink "$home/current" || true)
  trap 'rm -rf "$folder" "${work:-}"' EXIT
  trap 'exit 130' INT TERM HUP
  make_version
  make_user
  put_configuration
  migrate
  trap - EXIT
  rm -rf "$work"
  put_in_use "versions/$version"
  restart
  forget_old_versions
  tell_next
}

check_python() {
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed. Name one: make install PYTHON=/usr/bin/python3"
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv"
  real=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys._base_executable))')
  case $real in
  /home/* | /root/* | /run/user/*)
    fail "$real lies in somebody's home, where the service may not look. Name another: make install PYTHON=/usr/bin/python3" ;;
  esac
}

make_version() {
  say "making $folder from requirements.lock (half a minute) ..."
  mkdir -p "$home/versions" "$home/extensions"
  "$PYTHON" -m venv "$folder"
  pip="$folder/bin/python -m pip --quiet --disable-pip-version-check install --no-deps"
  $pip --require-hashes -r "$source/requirements.lock"
  work=$(mktemp -d)
  # Building writes beside the sources: build a copy.
  for part in pyproject.toml README.md LICENSE scheduler_daemon extensions; do
    cp -R "$source/$part" "$work/"
  done
  $pip --no-build-isolation "$work" "$work/extensions/core" "$work/extensions/web"
  printf '%s\n' "$home/extensions" >"$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/extensions.pth"
  mkdir -p "$folder/share"
  cp -R "$source/docs" "$source/systemd" "$folder/share/"
  for shell in bash zsh fish; do
    "$folder/bin/systemprompt" completion $shell >"$folder/share/systemprompt.$shell"
  done
}

make_user() {
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers "$folder/share/systemd/scheduler-daemon.sysusers"
  elif ! getent passwd scheduler-daemon >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/scheduler-daemon \
      --shell /usr/sbin/nologin --comment "Scheduler daemon" scheduler-daemon
  fi
}

# What is there is never touched; what a new version would have put there lies beside it as .dist.
put_configuration() {
  mkdir -p "$configuration"
  for new in "$folder"/share/systemd/etc/*.yaml; do
    old=$configuration/${new##*/}
    if [ ! -e "$old" ]; then
      cp "$new" "$old"
    elif ! cmp -s "$new" "$old"; then
      cp "$new" "$old.dist"
    fi
  done
  if command -v systemd-tmpfiles >/dev/null; then
    systemd-tmpfiles --create "$folder/share/systemd/scheduler-daemon.tmpfiles"
  else
    install -d -o scheduler-daemon -g scheduler-daemon -m 755 /srv/scheduler-daemon
  fi
}

# In a sandbox like the service's own, with its drop-ins: the same user, credentials and limits. An older
# daemon may go on meanwhile: migrations only add.
migrate() {
  systemd_runs || return 0
  say "migrating the database ..."
  once=scheduler-daemon-migrate.service
  overrides=/run/systemd/system/$once.d
  mkdir -p "$overrides"
  cp "$folder/share/systemd/$service" "/run/systemd/system/$once"
  for dropin in /etc/systemd/system/$service.d/*.conf; do
    [ ! -e "$dropin" ] || cp "$dropin" "$overrides/"
  done
  cat >"$overrides/zzz-migrate.conf" <<END
[Service]
Type=oneshot
ExecStart=
ExecStart=$folder/bin/scheduler-daemon migrate --config $configuration/config.yaml
ExecStartPre=
ExecStartPost=
ExecReload=
RuntimeDirectory=
WatchdogSec=0
Restart=no
END
  systemctl daemon-reload
  result=0
  systemctl start $once 2>/dev/null || result=$?
  journalctl --sync 2>/dev/null || true
  journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID $once)" | sed 's/^/  /'
  systemctl reset-failed $once 2>/dev/null || true
  rm -rf "/run/systemd/system/$once" "$overrides"
  systemctl daemon-reload
  [ $result = 0 ] || fail "the migration failed, so nothing has changed: ${previous:-no version} stays in use"
}

# The symlink is swapped in one rename; the files elsewhere come from the version in use.
put_in_use() {
  ln -sfn "$1" "$home/current.new"
  mv -T "$home/current.new" "$home/current"
  share=$home/$1/share
  put "$share/systemd/$service" $units/$service
  put "$share/systemd/scheduler-daemon.sysusers" /usr/local/lib/sysusers.d/scheduler-daemon.conf
  put "$share/systemd/scheduler-daemon.tmpfiles" /usr/local/lib/tmpfiles.d/scheduler-daemon.conf
  put "$share/systemprompt.bash" /usr/local/share/bash-completion/completions/systemprompt
  put "$share/systemprompt.zsh" /usr/local/share/zsh/site-functions/_systemprompt
  put "$share/systemprompt.fish" /usr/local/share/fish/vendor_completions.d/systemprompt.fish
  mkdir -p /usr/local/bin
  ln -sfn $home/current/bin/scheduler-daemon /usr/local/bin/scheduler-daemon
  ln -sfn $home/current/bin/systemprompt /usr/local/bin/systemprompt
  ! systemd_runs || systemctl daemon-reload
}

put() {
  mkdir -p "${2%/*}"
  cp "$1" "$2"
}

# If the new version does not come up, the one before it is put back.
restart() {
  if ! systemd_runs || [ "${RESTART:-}" = no ] || ! systemctl is-active --quiet $service; then return 0; fi
  say "restarting $service ..."
  if systemctl restart $service; then return 0; fi
  journalctl -q -u $service -n 5 -o cat | sed 's/^/  /'
  [ -n "$previous" ] || fail "$version does not come up: see journalctl -u $service"
  put_in_use "$previous"
  systemctl reset-failed $service
  systemctl restart $service || fail "$version does not come up, nor does $previous: see journalctl -u $service"
  fail "$version does not come up; $previous is in use again. Look into $folder, or remove it"
}

# The version in use and the two before it stay.
forget_old_versions() {
  ls -1dt "$home"/versions/* | tail -n +4 | while read -r old; do
    [ "$old" = "$(readlink -f "$home/current")" ] || rm -rf "$old"
  done
}

tell_next() {
  say "scheduler-daemon $version is in use."
  for file in "$configuration"/*.dist; do
    [ ! -e "$file" ] || say "  yours differs from what comes with it: diff ${file%.dist} $file"
  done
  if systemd_runs && ! systemctl is-enabled --quiet $service; then
    say "  start it, now and at every boot: systemctl enable --now scheduler-daemon"
  fi
}

uninstall_all() {
  if systemd_runs; then
    systemctl disable --now $service 2>/dev/null || true
  fi
  rm -f $units/$service /usr/local/lib/sysusers.d/scheduler-daemon.conf /usr/local/lib/tmpfiles.d/scheduler-daemon.conf \
    /usr/local/share/bash-completion/completions/systemprompt /usr/local/share/zsh/site-functions/_systemprompt \
    /usr/local/share/fish/vendor_completions.d/systemprompt.fish
  for program in scheduler-daemon systemprompt; do
    case $(readlink "/usr/local/bin/$program") in "$home"/*) rm "/usr/local/bin/$program" ;; esac
  done
  rm -rf $home/versions $home/current
  rmdir $home/extensions $home 2>/dev/null || true
  ! systemd_runs || systemctl daemon-reload
  say "removed. What is yours stays:"
  for kept in $configuration /var/lib/scheduler-daemon /srv/scheduler-daemon $home/extensions; do
    [ ! -e "$kept" ] || say "  $kept"
  done
  say "  the user and group scheduler-daemon, to whom it belongs"
}

[ "$(id -u)" = 0 ] || fail "This needs root: sudo make ${1:-install}"
case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "usage: manage.sh install|uninstall" ;;
esac
