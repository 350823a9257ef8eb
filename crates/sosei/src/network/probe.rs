//! Whether a server answers: its name, ping, and the ports of targets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::Stdio;
use std::time::Duration;

use crate::language::t;
use tui::{Network, Note, Weight};

use crate::helper::helper;

/// Ports of targets.
const PORTS: [(u16, &str); 3] = [(2049, "NFS"), (445, "SMB"), (443, "HTTPS")];
const PATIENCE: Duration = Duration::from_secs(3);

fn note(weight: Weight, code: &str, text: impl Into<String>) -> Note {
    Note { code: code.into(), text: text.into(), weight }
}

/// What of this machine keeps it from reaching anybody.
pub fn of_links(network: &Network) -> Vec<Note> {
    let connected = network.links.iter().filter(|link| link.has_carrier);
    if connected.clone().next().is_none() {
        return vec![note(Weight::Bad, "no-link", t!("probe.no_link"))];
    }
    if network.links.iter().all(|link| link.addresses.is_empty()) {
        return vec![note(Weight::Bad, "no-address", t!("probe.no_address"))];
    }
    let mut notes = Vec::new();
    for link in connected.filter(|link| !link.addresses.is_empty()) {
        let addresses = link.addresses.join(" ");
        notes.push(note(Weight::Good, "", t!("probe.link", link = link.name, addresses = addresses)));
    }
    if network.gateway.is_none() {
        notes.push(note(Weight::Warning, "no-gateway", t!("probe.no_gateway")));
    }
    notes
}

/// Name, ping and ports of a server that is given as `HOST` or `HOST:PORT`.
pub fn of_server(server: &str) -> Vec<Note> {
    let (host, port) = split(server);
    let address = match address_of(host) {
        Ok(address) => address,
        Err(error) => {
            let text = t!("probe.no_name", name = host, error = error);
            return vec![note(Weight::Bad, "no-name", text)];
        }
    };
    let mut notes = Vec::new();
    if host.parse::<IpAddr>().is_err() {
        notes.push(note(Weight::Good, "", t!("probe.name", name = host, address = address)));
    }
    notes.push(ping(address));
    let given = port.map(|port| [(port, "")]);
    let ports: &[(u16, &str)] = given.as_ref().map_or(&PORTS, |given| given);
    let answers: Vec<(Note, bool)> = ports.iter().map(|(port, name)| ask(address, *port, name)).collect();
    let is_silent = answers.iter().all(|(_, answers)| !answers);
    notes.extend(answers.into_iter().map(|(note, _)| note));
    if is_silent {
        notes.push(note(Weight::Bad, "no-answer", t!("probe.silent", address = address)));
    }
    notes
}

/// Host and port; addresses of IPv6 with a port stand in brackets.
fn split(server: &str) -> (&str, Option<u16>) {
    if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match server.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port.parse().ok()),
        _ => (server, None),
    }
}

fn address_of(host: &str) -> io::Result<IpAddr> {
    let mut addresses = (host, 0).to_socket_addrs()?;
    addresses.next().map(|address| address.ip()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn ping(address: IpAddr) -> Note {
    let host = address.to_string();
    let mut command = helper("ping");
    command.args(["-c", "2", "-W", "2", &host]).stdin(Stdio::null()).stderr(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => note(Weight::Good, "", t!("probe.ping", address = host)),
        Ok(_) => note(Weight::Warning, "no-ping", t!("probe.no_ping", address = host)),
        Err(error) => note(Weight::Warning, "no-ping", t!("probe.cannot_ping", error = error)),
    }
}

/// Asks a port; whether the machine answered at all, if only by refusing.
fn ask(address: IpAddr, port: u16, name: &str) -> (Note, bool) {
    let place = if name.is_empty() { port.to_string() } else { format!("{port} ({name})") };
    match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
        Ok(_) => (note(Weight::Good, "", t!("probe.open", port = place)), true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            (note(Weight::Warning, "port-closed", t!("probe.closed", port = place)), true)
        }
        Err(error) => (note(Weight::Warning, "port-silent", t!("probe.no_port", port = place, error = error)), false),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tui::Link;

    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(split("nas1"), ("nas1", None));
        assert_eq!(split("nas1:2049"), ("nas1", Some(2049)));
        assert_eq!(split("fd00::1"), ("fd00::1", None));
        assert_eq!(split("[fd00::1]:445"), ("fd00::1", Some(445)));
        assert_eq!(split("nas1:x"), ("nas1", None));
    }

    #[test]
    fn an_open_port_answers_and_a_closed_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (found, answered) = ask("127.0.0.1".parse().unwrap(), port, "");
        assert!(answered && found.weight == Weight::Good, "{found:?}");
        drop(listener);
        let (found, answered) = ask("127.0.0.1".parse().unwrap(), port, "");
        assert!(answered && found.code == "port-closed", "{found:?}");
    }

    #[test]
    fn a_machine_without_link_or_address_is_told_first() {
        let code = |links: Vec<Link>| {
            let network = Network { links, ..Network::default() };
            of_links(&network).into_iter().map(|note| note.code).collect::<Vec<_>>()
        };
        let link = |has_carrier, addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            Link { has_carrier, addresses, ..Link::default() }
        };
        assert_eq!(code(vec![link(false, &[])]), ["no-link"]);
        assert_eq!(code(vec![link(true, &[])]), ["no-address"]);
        assert_eq!(code(vec![link(true, &["192.0.2.5/24"])]), ["", "no-gateway"]);
    }
}
