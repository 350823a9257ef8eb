//! What `ip` and the resolver's file say, as data.
//!
//! Source: ip-address(8) and ip-link(8) of iproute2, option -json.

use serde::Deserialize;
use tui::Link;

/// What `ip -json -details address show` says of a link, as far as it is used.
#[derive(Deserialize)]
struct Shown {
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    linkinfo: Option<LinkInfo>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct LinkInfo {
    #[serde(default)]
    info_kind: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct Route {
    #[serde(default)]
    gateway: Option<String>,
}

/// The links that an operator may mean: cards, and what is made of them.
pub fn parse(text: &str) -> Vec<Link> {
    let shown: Vec<Shown> = serde_json::from_str(text).unwrap_or_default();
    shown.into_iter().filter_map(link).collect()
}

fn link(shown: Shown) -> Option<Link> {
    let kind = shown.linkinfo.and_then(|info| info.info_kind).unwrap_or_default();
    if shown.link_type != "ether" || !matches!(kind.as_str(), "" | "bond" | "vlan" | "veth") {
        return None;
    }
    let has_carrier = shown.flags.iter().any(|flag| flag == "LOWER_UP");
    let addresses = shown.addr_info.into_iter().filter(|address| address.scope == "global");
    let about = match kind.as_str() {
        "bond" => "bond".to_owned(),
        "vlan" => "VLAN".to_owned(),
        _ => "Ethernet".to_owned(),
    };
    Some(Link {
        has_carrier,
        mac: shown.address,
        addresses: addresses.map(|address| format!("{}/{}", address.local, address.prefixlen)).collect(),
        about: shown.master.map_or_else(|| about.clone(), |master| format!("{about}, {master}")),
        name: shown.ifname,
    })
}

/// The gateway that `ip -json route show default` names.
pub fn gateway(text: &str) -> Option<String> {
    let routes: Vec<Route> = serde_json::from_str(text).unwrap_or_default();
    routes.into_iter().find_map(|route| route.gateway)
}

/// The name servers of a resolver's file.
pub fn servers(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.trim().strip_prefix("nameserver")?.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_bonds_and_vlans_are_links_and_nothing_else_is() {
        let text = r#"[
            {"ifname":"lo","flags":["UP"],"link_type":"loopback","address":"00:00:00:00:00:00","addr_info":[]},
            {"ifname":"ifb0","flags":[],"link_type":"ether","linkinfo":{"info_kind":"ifb"},"addr_info":[]},
            {"ifname":"eth0","flags":["UP","LOWER_UP"],"link_type":"ether","address":"02:fc:00:00:00:01",
             "addr_info":[{"local":"192.0.2.2","prefixlen":24,"scope":"global"},{"local":"fe80::1","prefixlen":64,"scope":"link"}]},
            {"ifname":"eth1","flags":["NO-CARRIER","UP"],"link_type":"ether","master":"bond0","addr_info":[]},
            {"ifname":"bond0.12","flags":[],"link_type":"ether","linkinfo":{"info_kind":"vlan"},"addr_info":[]}]"#;
        let links = parse(text);
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1", "bond0.12"]);
        assert!(links[0].has_carrier && !links[1].has_carrier);
        assert_eq!(links[0].addresses, ["192.0.2.2/24"]);
        assert_eq!(links[1].about, "Ethernet, bond0");
        assert_eq!(parse("not json"), []);
    }

    #[test]
    fn gateways_and_name_servers_are_read() {
        assert_eq!(gateway(r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"}]"#), Some("192.0.2.1".into()));
        assert_eq!(gateway("[ ]"), None);
        assert_eq!(servers("search x\nnameserver 192.0.2.1\n nameserver fd00::1\n"), ["192.0.2.1", "fd00::1"]);
    }
}
