//! What an operator wants of the network, as commands.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::language::t;
use tui::{Bond, Link, Method, Setup};

/// Names of links have at most so many characters.
const NAME_LIMIT: usize = 15;
const BOND: &str = "bond0";

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command that ends by itself.
    Run(Vec<String>),
    /// A command that asks for a lease, and stays where it got one.
    Lease {
        /// For this link.
        link: String,
        /// The command.
        command: Vec<String>,
    },
    /// The client of a link, by the file that holds its process id.
    StopClient(PathBuf),
    /// A file.
    Write {
        /// Its name.
        path: PathBuf,
        /// What it holds then.
        text: String,
    },
}

/// What is wrong with what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No address with a prefix length.
    Address(String),
    /// No address.
    Gateway(String),
    /// The gateway can't be reached from the address.
    FarGateway(String),
    /// No address.
    Server(String),
    /// No number of a VLAN.
    Vlan(String),
    /// A name that no link can have.
    Name(String),
}

impl Problem {
    /// A short code that is the same in every language.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address(_) => "network-address",
            Self::Gateway(_) => "network-gateway",
            Self::FarGateway(_) => "network-gateway-far",
            Self::Server(_) => "network-server",
            Self::Vlan(_) => "network-vlan",
            Self::Name(_) => "network-name",
        }
    }

    /// In the operator's words.
    pub fn text(&self) -> String {
        match self {
            Self::Address(text) => t!("network.bad_address", text = text),
            Self::Gateway(text) => t!("network.bad_gateway", text = text),
            Self::FarGateway(text) => t!("network.far_gateway", text = text),
            Self::Server(text) => t!("network.bad_server", text = text),
            Self::Vlan(text) => t!("network.bad_vlan", text = text),
            Self::Name(text) => t!("network.bad_name", text = text),
        }
        .into_owned()
    }
}

/// The file that holds the process id of a link's DHCP client. The medium's own script uses the same.
fn client_file(link: &str) -> PathBuf {
    PathBuf::from(format!("/run/udhcpc.{link}.pid"))
}

fn run(command: &str) -> Step {
    Step::Run(command.split(' ').map(str::to_owned).collect())
}

/// What has to be done, in this order, on a machine with these links. `script` takes leases.
pub fn steps(wanted: &Setup, present: &[Link], script: &Path) -> Result<Vec<Step>, Problem> {
    let checked = Checked::of(wanted)?;
    let mut steps = Vec::new();
    for link in &wanted.links {
        // No name comes from anywhere but the list of links; one that `ip` would take for a word of its own is none.
        if !present.iter().any(|known| known.name == *link) {
            return Err(Problem::Name(link.clone()));
        }
        steps.push(Step::StopClient(client_file(link)));
        steps.push(run(&format!("ip address flush dev {link}")));
    }
    let mut device = wanted.links.first().cloned().unwrap_or_default();
    let mut names: Vec<&str> = present.iter().map(|known| known.name.as_str()).collect();
    if wanted.links.len() > 1 {
        if wanted.links.iter().any(|link| link == BOND) {
            return Err(Problem::Name(BOND.into()));
        }
        if names.contains(&BOND) {
            // The VLANs on it go with it.
            let (gone, left): (Vec<_>, Vec<_>) = names
                .into_iter()
                .partition(|name| name.strip_prefix(BOND).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
            steps.extend(gone.into_iter().map(|name| Step::StopClient(client_file(name))));
            steps.push(run(&format!("ip link delete {BOND}")));
            names = left;
        }
        let mode = match wanted.bond {
            Bond::ActiveBackup => "active-backup",
            Bond::Lacp => "802.3ad",
        };
        steps.push(run(&format!("ip link add {BOND} type bond mode {mode} miimon 100")));
        for link in &wanted.links {
            steps.push(run(&format!("ip link set {link} down")));
            steps.push(run(&format!("ip link set {link} master {BOND}")));
        }
        device = BOND.to_owned();
    } else {
        // A card of an earlier bond would go on working for that.
        steps.push(run(&format!("ip link set {device} nomaster")));
    }
    steps.push(run(&format!("ip link set {device} up")));
    if let Some(number) = checked.vlan {
        let name = format!("{device}.{number}");
        if name.len() > NAME_LIMIT {
            return Err(Problem::Name(name));
        }
        if names.contains(&name.as_str()) {
            steps.push(Step::StopClient(client_file(&name)));
            steps.push(run(&format!("ip link delete {name}")));
        }
        steps.push(run(&format!("ip link add link {device} name {name} type vlan id {number}")));
        steps.push(run(&format!("ip link set {name} up")));
        device = name;
    }
    match checked.address {
        None => {
            let file = client_file(&device);
            let words =
                ["udhcpc", "-i", &device, "-s", &script.display().to_string(), "-S", "-t", "5", "-T", "3", "-n"];
            let mut command: Vec<String> = words.into_iter().map(str::to_owned).collect();
            command.extend(["-p".to_owned(), file.display().to_string(), "-x".to_owned(), "hostname:sosei".to_owned()]);
            steps.push(Step::Lease { link: device, command });
        }
        Some((address, bits)) => {
            steps.push(run(&format!("ip address add {address}/{bits} dev {device}")));
            if let Some(gateway) = checked.gateway {
                steps.push(run(&format!("ip route replace default via {gateway} dev {device}")));
            }
            if !checked.servers.is_empty() {
                let lines = checked.servers.iter().map(|server| format!("nameserver {server}\n"));
                steps.push(Step::Write { path: super::RESOLVER.into(), text: lines.collect() });
            }
        }
    }
    Ok(steps)
}

/// What was typed, once it is understood.
struct Checked {
    address: Option<(IpAddr, u8)>,
    gateway: Option<IpAddr>,
    servers: Vec<IpAddr>,
    vlan: Option<u16>,
}

impl Checked {
    fn of(wanted: &Setup) -> Result<Self, Problem> {
        let address = match wanted.method {
            Method::Dhcp => None,
            Method::Fixed => Some(network(&wanted.address).ok_or_else(|| Problem::Address(wanted.address.clone()))?),
        };
        let gateway = match wanted.gateway.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Problem::Gateway(text.to_owned()))?),
        };
        if let (Some((address, bits)), Some(gateway)) = (address, gateway)
            && !is_near(address, bits, gateway)
        {
            return Err(Problem::FarGateway(gateway.to_string()));
        }
        let servers = wanted.servers.split([' ', ',']).filter(|text| !text.is_empty());
        let servers = servers.map(|text| text.parse().map_err(|_| Problem::Server(text.to_owned())));
        let vlan = match wanted.vlan.as_str() {
            "" => None,
            text => {
                let number = text.parse().ok().filter(|number| (1..=4094).contains(number));
                Some(number.ok_or_else(|| Problem::Vlan(text.to_owned()))?)
            }
        };
        Ok(Self { address, gateway, servers: servers.collect::<Result<_, _>>()?, vlan })
    }
}

/// An address with its prefix length: `192.0.2.5/24`.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.trim().parse().ok()?;
    let bits: u8 = bits.trim().parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    ((1..=most).contains(&bits) && !address.is_unspecified() && !address.is_multicast()).then_some((address, bits))
}

/// Whether one address reaches the other without a gateway. A link-local gateway of IPv6 is always near.
fn is_near(address: IpAddr, bits: u8, other: IpAddr) -> bool {
    match (address, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let shift = 32_u32.saturating_sub(u32::from(bits));
            one.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let shift = 128_u32.saturating_sub(u32::from(bits));
            other.is_unicast_link_local() || one.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(names: &[&str]) -> Vec<Link> {
        names.iter().map(|name| Link { name: (*name).to_owned(), ..Link::default() }).collect()
    }

    fn wanted(links: &[&str], method: Method) -> Setup {
        Setup { links: links.iter().map(|name| (*name).to_owned()).collect(), method, ..Setup::default() }
    }

    fn text(wanted: &Setup, present: &[&str]) -> Vec<String> {
        let steps = steps(wanted, &links(present), Path::new("/lease")).unwrap().into_iter();
        let text = steps.map(|step| match step {
            Step::Run(command) | Step::Lease { command, .. } => command.join(" "),
            Step::StopClient(file) => format!("stop {}", file.display()),
            Step::Write { path, text } => format!("{}: {}", path.display(), text.trim_end()),
        });
        text.collect()
    }

    #[test]
    fn a_lease_is_asked_for_on_a_link_that_has_no_client_and_no_address_any_more() {
        let expected = [
            "stop /run/udhcpc.eth0.pid",
            "ip address flush dev eth0",
            "ip link set eth0 nomaster",
            "ip link set eth0 up",
            "udhcpc -i eth0 -s /lease -S -t 5 -T 3 -n -p /run/udhcpc.eth0.pid -x hostname:sosei",
        ];
        assert_eq!(text(&wanted(&["eth0"], Method::Dhcp), &["eth0"]), expected);
    }

    /// The live medium carries the same lines out, on links of its own.
    #[test]
    fn a_bond_with_a_vlan_and_a_fixed_address_where_such_links_were_before() {
        let mut setup = wanted(&["ens3", "ens4"], Method::Fixed);
        setup.address = "192.0.2.5/24".into();
        setup.gateway = "192.0.2.1".into();
        setup.servers = "192.0.2.1, fd00::1".into();
        setup.vlan = "12".into();
        setup.bond = Bond::Lacp;
        let expected = include_str!("../../../../tests/expected/network-bond-and-vlan.txt");
        let steps = text(&setup, &["ens3", "ens4", "bond0", "bond0.12", "bond0.13", "bond01"]);
        assert_eq!(steps.join("\n"), expected.trim_end());
    }

    #[test]
    fn what_can_not_work_is_refused_before_anything_is_done() {
        let fixed = |address: &str, gateway: &str, servers: &str, vlan: &str| {
            let mut setup = wanted(&["eth0"], Method::Fixed);
            (setup.address, setup.gateway) = (address.into(), gateway.into());
            (setup.servers, setup.vlan) = (servers.into(), vlan.into());
            steps(&setup, &links(&["eth0"]), Path::new("/lease")).map(|steps| steps.len())
        };
        assert_eq!(fixed("192.0.2.5", "", "", ""), Err(Problem::Address("192.0.2.5".into())));
        assert_eq!(fixed("192.0.2.5/33", "", "", ""), Err(Problem::Address("192.0.2.5/33".into())));
        assert_eq!(fixed("192.0.2.5/24", "x", "", ""), Err(Problem::Gateway("x".into())));
        assert_eq!(fixed("192.0.2.5/24", "192.0.3.1", "", ""), Err(Problem::FarGateway("192.0.3.1".into())));
        assert_eq!(fixed("fd00::5/64", "fd01::1", "", ""), Err(Problem::FarGateway("fd01::1".into())));
        assert_eq!(fixed("fd00::5/64", "fe80::1", "", ""), Ok(6));
        assert_eq!(fixed("192.0.2.5/24", "", "nas", ""), Err(Problem::Server("nas".into())));
        assert_eq!(fixed("192.0.2.5/24", "", "", "4095"), Err(Problem::Vlan("4095".into())));
        assert_eq!(fixed("192.0.2.5/32", "192.0.2.5", "", ""), Ok(6));
        let unknown = steps(&wanted(&["eth9"], Method::Dhcp), &links(&["eth0"]), Path::new("/lease"));
        assert_eq!(unknown, Err(Problem::Name("eth9".into())));
    }
}
