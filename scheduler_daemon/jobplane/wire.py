"""What the daemon and the job plane say to each other.

Every channel is an AF_UNIX stream socketpair. A frame is a four-byte big-endian length and a JSON array
of messages; a message is an object whose "t" is its type. Times are Unix seconds (float).

Daemon → zygote
    discover  sections {extension: section}, jobs [{name, extension, job, parameters}], database_url,
              base_dir, state_dir, timezone, exclude {extension: reason}
    fork      worker (int)                      with one file descriptor (SCM_RIGHTS): the worker's channel
    spawn     worker, extension                 the same, but a fresh process (for extensions that leave threads)
    kill      worker, signal                    the worker and, for SIGKILL, all its descendants
    retire                                      fork no more; exit when the last worker has
    stop                                        kill all, exit
Zygote → daemon
    importing  extension, distribution          said before each import, so that a hang or a death has a name
    catalogue  extensions [...], problems [...]  model.ExtensionInfo and model.SectionProblem as objects
    forked     worker, pid, start_time          start_time: field 22 of /proc/PID/stat (clock ticks after boot)
    exited     worker, pid, status              status: exit code, or minus the signal
Daemon → worker
    run        id, name, extension, job, kind, attempt, scheduled_for (Unix seconds or null), parameters,
               memory_limit (bytes or null)     runs queue up in the worker and run one at a time, in order
    cancel     id, reason                       "cancelled" | "timeout" | "shutdown"; of a queued run: drops it
    take_back                                   answered by `returned` with the runs that had not started
    ping                                        every 5 s; a worker that hears nothing for 20 s ends itself
    stop                                        finish the current run, then exit 0
Worker → daemon
    ready
    started    id, at                           sent (with the outcome before it) before the job's first line
    step       id, name, status, duration_s, error      status "running" | "succeeded" | "failed"
    progress   id, done, total, note
    log        id, at, level, module, message, fields
    outcome    id, status, started_at, finished_at, items_processed, items_failed, message, error, traceback,
               steps [...], logs_dropped        status: "succeeded" | "failed" | "cancelled"
    returned   ids [...]
"""
