#!/bin/sh
# Boots a real systemd as PID 1 of namespaces of its own, over a throw-away overlay of this machine's root.
# Nothing that happens inside changes the machine: files are copies, /proc/sys and /sys are read-only, there
# is no network but loopback, and the rights to set the clock or to touch the kernel are gone.
#   box.sh FOLDER     FOLDER: in a tmpfs; keeps what was written, from boot to boot
# Started by conftest.py, which ends it; needs root, and Debian's systemd package.
set -eu
folder=$1
root=$folder/root
hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
mkdir -p "$folder/upper/etc/systemd/system" "$folder/work" "$root" "$hierarchy/${folder##*/}"
echo $$ >"$hierarchy/${folder##*/}/cgroup.procs"
for unit in systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_reap.service \
  e2scrub_all.timer postgresql.service avahi-daemon.service avahi-daemon.socket getty.target cron.service; do
  ln -sf /dev/null "$folder/upper/etc/systemd/system/$unit"
done
cat >"$folder/boot.sh" <<BOOT
set -eu
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir=$folder/upper,workdir=$folder/work $root
mount -t proc proc $root/proc
mount --bind $root/proc/sys $root/proc/sys
mount -o remount,bind,ro $root/proc/sys
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $root/dev
for name in null zero random urandom full tty; do
  touch $root/dev/\$name
  mount --bind /dev/\$name $root/dev/\$name
done
mkdir -p $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts $root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=1777 tmpfs $root/tmp
mount -t tmpfs -o mode=1777 tmpfs $root/var/tmp
cd $root
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-wake_alarm,-mknod \
  env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --log-target=journal --show-status=0 --unit=multi-user.target
BOOT
exec setpriv --pdeathsig KILL \
  unshare --kill-child --fork --pid --mount --uts --ipc --net --cgroup sh "$folder/boot.sh"
