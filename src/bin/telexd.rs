//! The daemon's command line.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use telex::address::Address;
use telex::config::{CommandLine, Config, HELP, Machine, Task};
use telex::daemon::{Daemon, End, Fatal, check_plugins};
use telex::listen::Inherited;
use telex::sys::{self, BackgroundWriter};

/// Nothing was wrong with what was asked for, but it could not be done.
const FAILED: u8 = 1;
/// The command line or the configuration is at fault.
const USAGE: u8 = 2;
/// All has been left with the service manager, which is to start the process that goes on
/// (`RestartForceExitStatus=75` in its unit).
const HANDED_OVER: u8 = 75;
/// How long stdout and stderr are waited for.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Before anything is opened, which would have the number of one that is missing.
    let inherited = telex::listen::inherited();
    let left = telex::daemon::left_to_this_process();
    // What the process that this one was has left to it stays blocked until it can be heard.
    if left.as_ref().is_ok_and(Vec::is_empty)
        && let Err(error) = sys::unblock_signals()
    {
        return fail(FAILED, &format!("unblocking signals: {error}"));
    }
    let command_line = match CommandLine::parse(std::env::args_os()) {
        Ok(command_line) => command_line,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    match command_line.task {
        Task::Help => return say(HELP),
        Task::Version => return say(concat!("telexd ", env!("CARGO_PKG_VERSION"), "\n")),
        Task::Check | Task::Run => {}
    }
    let machine = Machine { host_name: sys::host_name(), has_group: sys::has_group };
    let config = match Config::load(&command_line, &machine) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    if command_line.task == Task::Check {
        return match check_plugins(&config) {
            Ok(()) => say("telexd: the configuration is right\n"),
            Err(error) => fail(FAILED, &error.to_string()),
        };
    }
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => return fail(FAILED, &format!("taking the sockets of the service manager: {error}")),
    };
    let left = match left {
        Ok(left) => left,
        Err(error) => return fail(FAILED, &format!("taking over from another process: {error}")),
    };
    match serve(command_line, config, machine, inherited, left) {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::HandedOver) => ExitCode::from(HANDED_OVER),
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

fn serve(
    command_line: CommandLine,
    config: Config,
    machine: Machine,
    inherited: Vec<Inherited>,
    left: Vec<OwnedFd>,
) -> Result<End, Fatal> {
    let is_new = left.is_empty();
    let daemon = Daemon::start(command_line, config, machine, inherited, left)?;
    // Before what the log has to say. It need not be read: without a thread it is not said.
    if is_new && let Ok(out) = BackgroundWriter::start(io::stdout(), |_| String::new()) {
        out.write(&greeting(daemon.addresses()));
        out.drain(TAKEN_WITHIN);
    }
    daemon.run()
}

/// One line for each address, and one that can be pasted to try it.
fn greeting<'a>(addresses: impl Iterator<Item = &'a Address>) -> String {
    let mut text = String::new();
    let mut example = None;
    for address in addresses {
        text += &format!("telexd {} listens on {address}\n", env!("CARGO_PKG_VERSION"));
        example.get_or_insert_with(|| try_it(address));
    }
    text + &example.unwrap_or_default()
}

fn try_it(address: &Address) -> String {
    let request = r#"{"message_type":"whoami"}"#;
    let client = match address {
        Address::Unix(path) => format!("nc -N -U {}", path.display()),
        Address::Abstract(name) => format!("socat -t5 - ABSTRACT-CONNECT:{name}"),
        Address::Tcp(telex::address::Host::Name(host), port) => format!("nc -N {host} {port}"),
        Address::Tcp(telex::address::Host::Any, port) => format!("nc -N localhost {port}"),
    };
    format!("try it: echo '{request}' | {client}\n")
}

fn say(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    // The journal knows the program's name, and takes <3> for an error (sd-daemon(3)).
    let head = if sys::is_journal() { "<3>" } else { "telexd: " };
    let lines: String = text.lines().map(|line| format!("{head}{line}\n")).collect();
    match BackgroundWriter::start(io::stderr(), |_| String::new()) {
        Ok(err) => {
            err.write(&lines);
            err.drain(TAKEN_WITHIN);
        }
        // If stderr is closed the exit status has to do.
        Err(_) => drop(io::stderr().write_all(lines.as_bytes())),
    }
    ExitCode::from(code)
}
