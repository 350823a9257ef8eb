//! What configuration files say about a cluster: its name, its servers, its mirrors.
//!
//! Source: clp.conf as in the public guides of EXPRESSCLUSTER (github.com/EXPRESSCLUSTER/BasicCluster); corosync.conf(5);
//! drbd.conf(5); sbd(8).

use filesystem::Files;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

use super::linux;

const XML_LIMIT: u64 = 16 << 20;
/// Elements inside each other.
const DEPTH_LIMIT: usize = 64;
/// Where clp.conf lies. On Windows both names of the product are in use.
pub const CLP_PATHS: &[&str] = &[
    "/opt/nec/clusterpro/etc/clp.conf",
    "/Program Files/EXPRESSCLUSTER/etc/clp.conf",
    "/Program Files/CLUSTERPRO/etc/clp.conf",
    "/Program Files/CLUSTERPRO SERVER/etc/clp.conf",
];

/// A cluster as the configuration on one of its nodes describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The file that says it.
    pub file: String,
    /// `clusterpro`, `corosync`, `drbd`.
    pub kind: String,
    /// Name of the cluster.
    pub name: Option<String>,
    /// `linux` or `windows`, where the file says it.
    pub system: Option<String>,
    /// Version of the program that saved the file.
    pub version: Option<String>,
    /// Names of the nodes.
    pub servers: Vec<String>,
    /// Resources.
    pub resources: Vec<Resource>,
    /// DRBD: every statement about a device was understood, and no file that belongs to it was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_complete: bool,
}

/// A resource of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// `md`, `hd`, `sd`, `disk`, `fip`, …; `drbd`; as the configuration calls it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its parameters that name disks and volumes, those of single servers as `server1/volumeguid`.
    pub parameters: Vec<(String, String)>,
}

/// Every configuration of a cluster in a file system.
pub fn find(files: &dyn Files) -> Vec<Configuration> {
    let mut found = Vec::new();
    found.extend(CLP_PATHS.iter().find_map(|path| clp(path, &files.read(path, XML_LIMIT)?)));
    found.extend(corosync(files));
    found.extend(drbd(files));
    found
}

/// clp.conf. `None` where it is no XML with the root element that it must have.
pub fn clp(path: &str, bytes: &[u8]) -> Option<Configuration> {
    let text = decode(bytes);
    let mut reader = Reader::from_str(&text);
    let mut found = Configuration { file: path.to_owned(), kind: "clusterpro".into(), ..Configuration::default() };
    // The elements around, each with its attribute `name`.
    let mut around: Vec<(String, Option<String>)> = Vec::new();
    let mut is_root_there = false;
    loop {
        match reader.read_event().ok()? {
            event @ (Event::Start(_) | Event::Empty(_)) => {
                let is_empty = matches!(event, Event::Empty(_));
                let (Event::Start(start) | Event::Empty(start)) = event else { continue };
                let tag = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                let name = start.attributes().flatten().find(|attribute| attribute.key.as_ref() == b"name");
                let name = name.map(|name| String::from_utf8_lossy(&name.value).into_owned());
                around.push((tag, name));
                if around.len() > DEPTH_LIMIT {
                    return None;
                }
                is_root_there |= around.first().is_some_and(|(tag, _)| tag == "root");
                found.enter(&around);
                if is_empty {
                    around.pop();
                }
            }
            Event::Text(text) => found.take(&around, String::from_utf8_lossy(&text).trim()),
            Event::CData(text) => found.take(&around, String::from_utf8_lossy(&text).trim()),
            Event::End(_) => {
                around.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    is_root_there.then_some(found)
}

impl Configuration {
    /// An element begins.
    fn enter(&mut self, around: &[(String, Option<String>)]) {
        match tags(around).as_slice() {
            ["root", "server"] => self.servers.extend(around.last().and_then(|(_, name)| name.clone())),
            ["root", "resource", kind] if *kind != "types" => {
                let name = around.last().and_then(|(_, name)| name.clone()).unwrap_or_default();
                self.resources.push(Resource { kind: (*kind).to_owned(), name, parameters: Vec::new() });
            }
            _ => {}
        }
    }

    /// Text in an element.
    fn take(&mut self, around: &[(String, Option<String>)], text: &str) {
        if text.is_empty() {
            return;
        }
        let value = || Some(text.to_owned());
        match tags(around).as_slice() {
            ["root", "cluster", "name"] => self.name = value(),
            ["root", "all", "serveros"] => self.system = value(),
            ["root", "trekking", "savedversion"] => self.version = value(),
            ["root", "resource", _, rest @ ..] if names_disk(rest.last()) => {
                let server = around.get(3).filter(|(tag, _)| tag == "server").and_then(|(_, name)| name.as_deref());
                let tag = rest.last().copied().unwrap_or_default();
                let key = server.map_or_else(|| tag.to_owned(), |server| format!("{server}/{tag}"));
                if let Some(resource) = self.resources.last_mut() {
                    resource.parameters.push((key, text.to_owned()));
                }
            }
            _ => {}
        }
    }

    /// Names of the resources of these kinds.
    pub fn names_of<'a>(&'a self, kinds: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.resources.iter().filter(|found| kinds.contains(&found.kind.as_str())).map(|found| found.name.as_str())
    }
}

/// Parameters that name a disk, a partition or a volume.
fn names_disk(tag: Option<&&str>) -> bool {
    tag.is_some_and(|tag| ["device", "volume", "part", "guid", "path"].iter().any(|word| tag.contains(word)))
}

fn tags(around: &[(String, Option<String>)]) -> Vec<&str> {
    around.iter().map(|(tag, _)| tag.as_str()).collect()
}

/// The text of an XML document in the encoding that its first line names; UTF-8 where it names none.
fn decode(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(200)).unwrap_or_default();
    let head = String::from_utf8_lossy(head).into_owned();
    let declared = head.split_once("encoding=").map(|(_, rest)| rest.trim_start_matches(['"', '\'']));
    let label = declared.and_then(|rest| rest.split(['"', '\'', '?', ' ']).next()).unwrap_or("UTF-8");
    // Files that call themselves ASCII hold Japanese comments all the same.
    let encoding = match label.to_ascii_uppercase().as_str() {
        "ASCII" | "US-ASCII" => encoding_rs::UTF_8,
        "SJIS" => encoding_rs::SHIFT_JIS,
        other => encoding_rs::Encoding::for_label(other.as_bytes()).unwrap_or(encoding_rs::UTF_8),
    };
    encoding.decode(bytes).0.into_owned()
}

fn corosync(files: &dyn Files) -> Option<Configuration> {
    let path = "/etc/corosync/corosync.conf";
    let text = linux::text(files, path)?;
    let mut found = Configuration { file: path.into(), kind: "corosync".into(), ..Configuration::default() };
    let (mut around, mut addresses): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_suffix('{') {
            around.push(section.trim().to_owned());
        } else if line.starts_with('}') {
            around.pop();
        } else if let Some((key, value)) = line.split_once(':') {
            let value = value.trim().to_owned();
            match (around.last().map(String::as_str), key.trim()) {
                (Some("totem"), "cluster_name") => found.name = Some(value),
                (Some("node"), "name") => found.servers.push(value),
                (Some("node"), "ring0_addr") => addresses.push(value),
                _ => {}
            }
        }
    }
    if found.servers.is_empty() {
        found.servers = addresses;
    }
    Some(found)
}

/// Files that `drbdadm` prefers to drbd.conf.
const OTHER_DRBD_CONF: [&str; 3] = ["/etc/drbd-84.conf", "/etc/drbd-83.conf", "/etc/drbd-08.conf"];
const DRBD_CONF: &str = "/etc/drbd.conf";
const DRBD_DIRECTORY: &str = "/etc/drbd.d";
const COMMON: &str = "drbd.d/global_common.conf";
const RESOURCES: &str = "drbd.d/*.res";

fn drbd(files: &dyn Files) -> Option<Configuration> {
    let names = files.list(DRBD_DIRECTORY);
    let (mut paths, common) = (vec![DRBD_CONF.to_owned()], format!("/etc/{COMMON}"));
    if files.exists(&common) {
        paths.push(common.clone());
    }
    paths.extend(names.iter().filter(|name| name.ends_with(".res")).map(|name| format!("{DRBD_DIRECTORY}/{name}")));
    let mut found = Configuration { kind: "drbd".into(), ..Configuration::default() };
    // An empty directory is one that could not be read, for all that is known.
    let is_listed = !names.is_empty() || !files.exists(DRBD_DIRECTORY);
    let mut is_complete = is_listed && !OTHER_DRBD_CONF.iter().any(|path| files.exists(path));
    for path in &paths {
        let Some(text) = linux::text(files, path) else {
            is_complete = false;
            continue;
        };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let text = lines.collect::<Vec<_>>().join(" ").replace(['{', '}', ';'], " ; ").replace('"', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        for (number, word) in words.iter().enumerate() {
            let next = words.get(number.saturating_add(1)).copied().filter(|next| *next != ";");
            // A statement begins behind the end of another.
            let begins = number.checked_sub(1).is_none_or(|before| words.get(before) == Some(&";"));
            match (*word, next) {
                ("resource", Some(name)) if begins => {
                    if found.file.is_empty() {
                        found.file.clone_from(path);
                    }
                    let (kind, name) = ("drbd".to_owned(), name.to_owned());
                    found.resources.push(Resource { kind, name, parameters: Vec::new() });
                }
                ("on", Some(name)) if begins && !found.servers.iter().any(|server| server == name) => {
                    found.servers.push(name.to_owned());
                }
                ("disk" | "meta-disk" | "flexible-meta-disk", Some(device)) if begins && device.starts_with('/') => {
                    if let Some(resource) = found.resources.last_mut() {
                        let key = word.strip_prefix("flexible-").unwrap_or(word);
                        resource.parameters.push((key.to_owned(), device.to_owned()));
                    }
                }
                ("meta-disk", Some("internal")) | ("disk", Some("none")) if begins => {}
                // Names are taken from the directory of the file: the same words in another mean other files.
                ("include", Some(RESOURCES)) if begins && path == DRBD_CONF => {}
                ("include", Some(COMMON)) if begins && path == DRBD_CONF => is_complete &= paths.contains(&common),
                ("disk" | "meta-disk" | "flexible-meta-disk" | "include" | "template-file", Some(_)) if begins => {
                    is_complete = false;
                }
                _ => {}
            }
        }
    }
    let has_disk = |resource: &Resource| resource.parameters.iter().any(|(key, _)| key == "disk");
    found.is_complete = is_complete && found.resources.iter().all(has_disk);
    (!found.resources.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::sample::Tree;

    const CLP: &str = r#"<?xml version="1.0" encoding="EUC-JP"?>
<root><all><serveros>linux</serveros><charset>EUC-JP</charset></all>
<cluster><name>cluster1</name><comment>予備</comment></cluster>
<server name="server1"><priority>0</priority></server><server name="server2"/>
<resource><types name="md"/><types name="fip"/>
<fip name="fip1"><parameters><ip>10.0.0.1</ip></parameters></fip>
<md name="md1"><parameters><dppath>/dev/sdb2</dppath><cppath>/dev/sdb1</cppath></parameters>
<server name="server1"><parameters><volumeguid>4519e341-59ed-43e9-8856-d2c9ed671f65</volumeguid></parameters></server></md>
</resource><trekking><savedversion>4.2.0-1</savedversion></trekking></root>"#;

    #[test]
    fn clp_conf_in_the_encodings_that_it_comes_in() {
        for label in ["EUC-JP", "SJIS", "ASCII", "UTF-8"] {
            let text = CLP.replacen("EUC-JP", label, 1);
            let encoding = match label {
                "EUC-JP" => encoding_rs::EUC_JP,
                "SJIS" => encoding_rs::SHIFT_JIS,
                _ => encoding_rs::UTF_8,
            };
            let found = clp("/clp.conf", &encoding.encode(&text).0).unwrap();
            assert_eq!(found.name.as_deref(), Some("cluster1"));
            assert_eq!(found.servers, ["server1", "server2"]);
            assert_eq!((found.system.as_deref(), found.version.as_deref()), (Some("linux"), Some("4.2.0-1")));
            assert_eq!(found.names_of(&["md", "hd"]).collect::<Vec<_>>(), ["md1"]);
            let parameters = &found.resources[1].parameters;
            assert!(parameters.contains(&("cppath".into(), "/dev/sdb1".into())), "{parameters:?}");
            let guid = "4519e341-59ed-43e9-8856-d2c9ed671f65";
            assert!(parameters.contains(&("server1/volumeguid".into(), guid.into())), "{parameters:?}");
        }
        assert_eq!(clp("/clp.conf", b"<other/>"), None);
        assert_eq!(clp("/clp.conf", "<a>".repeat(100).as_bytes()), None);
    }

    #[test]
    fn corosync_and_drbd_name_their_nodes() {
        let mut files = Tree::default();
        files.add(
            "/etc/corosync/corosync.conf",
            "totem {\n cluster_name: hacl\n}\nnodelist {\n node {\n  name: n1\n  ring0_addr: 10.0.0.1\n }\n node {\n  name: n2\n }\n}\n",
        );
        files.add(
            "/etc/drbd.d/r0.res",
            "resource r0 {\n # on nowhere { }\n device /dev/drbd0;\n disk \"/dev/vdb1\";\n on n1 { address 10.0.0.1:7788; }\n on n2 {\n meta-disk internal; }\n}\n",
        );
        let found = find(&files);
        let [corosync, drbd] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((corosync.name.as_deref(), &corosync.servers[..]), (Some("hacl"), &["n1".into(), "n2".into()][..]));
        assert_eq!(drbd.servers, ["n1", "n2"]);
        assert_eq!(drbd.names_of(&["drbd"]).collect::<Vec<_>>(), ["r0"]);
        assert_eq!(drbd.resources[0].parameters, [("disk".to_owned(), "/dev/vdb1".to_owned())]);
    }

    #[test]
    fn a_configuration_of_drbd_is_complete_where_every_device_is_understood() {
        let conf = "include \"drbd.d/global_common.conf\";\ninclude \"drbd.d/*.res\";\n";
        let resource =
            "resource r0 { disk { on-io-error detach; } volume 0 { disk /dev/vdb1; meta-disk /dev/vdc1[0]; } }";
        let with = |conf: &str, resource: &str, others: &[(&str, &str)]| {
            let mut files = Tree::default();
            for (path, text) in [("/etc/drbd.conf", conf), ("/etc/drbd.d/r0.res", resource)].iter().chain(others) {
                files.add(path, text);
            }
            drbd(&files).unwrap()
        };
        let path = "/etc/drbd.d/global_common.conf";
        let common = "global { usage-count no; } common { net { protocol C; } disk { on-io-error detach; } }";
        let complete = |conf: &str, resource: &str, other: &str| {
            let found = with(conf, resource, &[(path, common), (other, "")]);
            assert_eq!(found.resources.len(), 1);
            found.is_complete
        };
        assert!(complete(conf, resource, "/etc/other"));
        assert!(complete(conf, &resource.replace("meta-disk", "flexible-meta-disk"), "/etc/other"));
        assert!(complete(conf, &resource.replace("/dev/vdc1[0]", "internal"), "/etc/other"));
        assert!(!complete(conf, resource, "/etc/drbd-84.conf"));
        assert!(!complete(&format!("{conf}include \"/var/lib/linstor.d/*.res\";"), resource, "/etc/other"));
        assert!(!complete(conf, &resource.replace("/dev/vdc1[0]", "vdc1"), "/etc/other"));
        assert!(!complete(conf, &resource.replace("disk /dev/vdb1;", ""), "/etc/other"));
        assert!(!complete(conf, &resource.replace("volume 0", "template-file x; volume 0"), "/etc/other"));
        assert!(!complete(conf, &format!("include \"drbd.d/*.res\"; {resource}"), "/etc/other"));

        // What the common part says counts as much, and so does that it can't be read.
        assert!(!with(conf, resource, &[]).is_complete);
        assert!(with("include \"drbd.d/*.res\";", resource, &[]).is_complete);
        let long = " ".repeat(5 << 20);
        for (text, resources) in [
            ("include \"more/*.res\";", 1),
            ("include \"drbd.d/*.res\";", 1),
            ("resource r1 { disk /dev/vdd1; meta-disk vde1; }", 2),
            (long.as_str(), 1),
        ] {
            let found = with(conf, resource, &[(path, text)]);
            assert_eq!((found.resources.len(), found.is_complete), (resources, false));
        }
        let found = with(conf, resource, &[(path, "resource r1 { disk /dev/vdd1; meta-disk /dev/vde1; }")]);
        assert_eq!((found.resources.len(), found.is_complete), (2, true));
    }
}
