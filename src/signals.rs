//! Ctrl-C, SIGTERM, SIGHUP, which a closed terminal sends, and SIGUSR1, by which a batch system says that time is nearly up. Work that
//! asks for it is stopped cleanly by the first of them, and at once by the second; all else at once. SIGUSR1 is never the second nor
//! makes another the second: a batch system signals a script and what it started, and the script passes the signal on as SIGUSR1.
//! SIGQUIT (`Ctrl-\`) always ends it at once: it is watched so that the terminal is given back.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread,
};

use nix::sys::signal::{SigSet, Signal};

use crate::terminal;

/// The first that came.
static CAME: AtomicI32 = AtomicI32::new(0);
/// Whether there is work that looks whether one came.
static CLEANLY: AtomicBool = AtomicBool::new(false);

/// Exit code of what a signal ends, less the signal's number, as shells have it.
const BY_SIGNAL: i32 = 128;

/// Wait for them from now on. Threads that are there already would be ended by one, so this comes first.
pub fn watch() {
    let mut watched = SigSet::empty();
    watched.add(Signal::SIGINT);
    watched.add(Signal::SIGTERM);
    watched.add(Signal::SIGUSR1);
    // `nohup` ignores the one for what it starts, and a shell without job control the other for what it starts in the background.
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        if !ignored(signal) {
            watched.add(signal);
        }
    }
    if watched.thread_block().is_err() {
        // They end it at once then, as without this.
        return;
    }
    thread::spawn(move || {
        while let Ok(signal) = watched.wait() {
            let before = CAME.load(Ordering::SeqCst);
            let first = before == 0 || before == Signal::SIGUSR1 as i32;
            let cleanly = CLEANLY.load(Ordering::SeqCst) && signal != Signal::SIGQUIT;
            if !cleanly || !(first || signal == Signal::SIGUSR1) {
                end(signal);
            }
            if first {
                CAME.store(signal as i32, Ordering::SeqCst);
            }
            if before == 0 {
                tell!("\nstopping; once more to stop at once");
            }
        }
    });
}

/// Let a pipe that is closed be an error of what writes into it, as it is from the start: a program that cannot start another in its place has
/// undone it.
pub fn ignore_closed_pipes() {
    #[allow(unsafe_code, reason = "no handler is set")]
    // SAFETY: ignoring a signal runs nothing.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, nix::sys::signal::SigHandler::SigIgn) };
}

/// End at once, as by a signal.
fn end(signal: Signal) -> ! {
    terminal::give_back();
    std::process::exit(BY_SIGNAL + signal as i32)
}

/// End as by Ctrl-C, where that came as a key.
#[cfg(feature = "browse")]
pub fn end_as_interrupted() -> ! {
    end(Signal::SIGINT)
}

/// From now on the first signal is left to [`came`].
pub fn stop_cleanly() {
    CLEANLY.store(true, Ordering::SeqCst);
}

/// Whether one came.
pub fn came() -> bool {
    CAME.load(Ordering::SeqCst) != 0
}

/// Exit code of what the first one stopped.
pub fn exit_code() -> u8 {
    let signal = match CAME.load(Ordering::SeqCst) {
        0 => Signal::SIGINT as i32,
        signal => signal,
    };
    u8::try_from(BY_SIGNAL + signal).unwrap_or(u8::MAX)
}

/// Whether this process was started so that the signal does nothing. Where the system does not tell, it does.
fn ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (mask >> (signal as i32 - 1)) & 1 == 1
}
