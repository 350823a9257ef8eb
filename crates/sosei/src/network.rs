//! The network of the appliance: what there is, how it is set up, whether a server answers.
//!
//! What is done is made as data first ([`setup::steps`]), then carried out with the commands that the medium itself uses
//! when it starts: `ip` and `udhcpc`. Outside the appliance the network is not the program's to change.

mod links;
mod probe;
mod setup;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::language::t;
use tui::{Network, Note, Setup, Weight};

use self::setup::Step;
use crate::failure::Failure;
use crate::helper::helper;

/// Where name servers are written to, on the medium.
const RESOLVER: &str = "/run/resolv.conf";

/// The script that takes a lease, as the medium names it; `None` where nobody gave the network into our hands.
pub fn lease_script() -> Option<PathBuf> {
    std::env::var_os("SOSEI_NETWORK").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// What there is.
pub fn look() -> Result<Network, Failure> {
    let links = links::parse(&output(&["ip", "-json", "-details", "address", "show"])?);
    let routes = output(&["ip", "-json", "route", "show", "default"])?;
    let routes = if links::gateway(&routes).is_some() {
        routes
    } else {
        output(&["ip", "-6", "-json", "route", "show", "default"])?
    };
    let resolver = [RESOLVER, "/etc/resolv.conf"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    let servers = resolver.map(|text| links::servers(&text)).unwrap_or_default();
    Ok(Network { links, gateway: links::gateway(&routes), servers })
}

/// Sets a link up, and tells what there is then.
pub fn set_up(wanted: &Setup) -> Result<Network, Failure> {
    let Some(script) = lease_script() else {
        return Err(Failure::usage("network-other", &t!("network.not_ours")));
    };
    let present = look()?.links;
    let steps =
        setup::steps(wanted, &present, &script).map_err(|problem| Failure::usage(problem.code(), &problem.text()))?;
    for step in steps {
        carry_out(&step)?;
    }
    look()
}

/// Asks a server in several ways whether it answers.
pub fn probe(server: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    match look() {
        Ok(network) => notes.extend(probe::of_links(&network)),
        Err(failure) => notes.push(Note::new(Weight::Bad, failure.message)),
    }
    notes.extend(probe::of_server(server));
    notes
}

fn carry_out(step: &Step) -> Result<(), Failure> {
    match step {
        Step::Run(command) => {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            output(&words).map(|_| ())
        }
        Step::Lease { link, command } => lease(link, command),
        Step::StopClient(file) => {
            stop_client(file);
            Ok(())
        }
        Step::Write { path, text } => {
            std::fs::write(path, text).map_err(|error| failed(&path.display().to_string(), &error.to_string()))
        }
    }
}

/// The client goes on in the background when it has a lease: it must not hold a pipe that we read to its end.
fn lease(link: &str, command: &[String]) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let mut client = helper(program);
    client.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match client.status() {
        Ok(status) if status.success() => {
            // The client is content with a lease; whether its script did anything with it, it does not ask.
            let has_address = look()?.links.iter().any(|known| known.name == link && !known.addresses.is_empty());
            let unused = || network_failure("network-unused-lease", &t!("network.unused_lease", link = link));
            if has_address { Ok(()) } else { Err(unused()) }
        }
        Ok(_) => Err(network_failure("network-no-lease", &t!("network.no_lease", link = link))),
        Err(error) => Err(failed(program, &error.to_string())),
    }
}

/// Ends the client that keeps a lease, where one runs for the link.
fn stop_client(file: &Path) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let pid = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    let is_client = pid.is_some_and(|pid| {
        let name = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        name.windows(b"udhcpc".len()).any(|part| part == b"udhcpc")
    });
    if let Some(pid) = pid.filter(|_| is_client) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ = std::fs::remove_file(file);
}

fn output(command: &[&str]) -> Result<String, Failure> {
    let line = command.join(" ");
    let Some((program, arguments)) = command.split_first() else { return Ok(String::new()) };
    match helper(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(failed(&line, String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(failed(&line, &error.to_string())),
    }
}

fn failed(command: &str, details: &str) -> Failure {
    network_failure("network-failed", &t!("network.failed", command = command, details = details))
}

fn network_failure(code: &str, message: &str) -> Failure {
    let next = t!("next.network").into_owned();
    Failure { state: t!("state.network").into_owned(), next, ..Failure::target_missing(code, message) }
}
