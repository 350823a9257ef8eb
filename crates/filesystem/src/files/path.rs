//! From a path to a file.

use super::{FileKind, Nodes};
use crate::Error;

/// Links that are followed for one path, as in the kernel.
const LINKS_LIMIT: usize = 40;
const LINK_BYTES_LIMIT: u64 = 4096;
/// Parts of a path, those of links included.
const PARTS_LIMIT: usize = 4096;

/// The node that `path` stands for, links followed; `None` where it does not exist.
pub(super) fn resolve(nodes: &dyn Nodes, path: &str) -> Result<Option<(u64, FileKind)>, Error> {
    // The directories from the root to where the walk stands.
    let mut above = Vec::new();
    let mut here = (nodes.root(), FileKind::Directory);
    // What is still to be walked, the next part last.
    let mut parts: Vec<String> = split(path);
    let (mut links, mut walked) = (0_usize, 0_usize);
    while let Some(part) = parts.pop() {
        walked = walked.saturating_add(1);
        if walked > PARTS_LIMIT {
            return Err(Error::Unsupported(format!("a path of more than {PARTS_LIMIT} parts")));
        }
        if part == ".." {
            here = above.pop().unwrap_or(here);
            continue;
        }
        if here.1 != FileKind::Directory {
            return Ok(None);
        }
        let Some(node) = find(nodes, here.0, &part)? else { return Ok(None) };
        let kind = nodes.kind(node)?;
        if kind != FileKind::Link {
            above.push(here);
            here = (node, kind);
            continue;
        }
        links = links.saturating_add(1);
        if links > LINKS_LIMIT {
            return Err(Error::Unsupported(format!("more than {LINKS_LIMIT} links in a path")));
        }
        let target = nodes.content(node)?.read_all(nodes.device(), LINK_BYTES_LIMIT)?;
        let target = String::from_utf8_lossy(&target).trim_end_matches('\0').to_owned();
        if target.starts_with('/') {
            above.clear();
            here = (nodes.root(), FileKind::Directory);
        }
        parts.extend(split(&target));
    }
    Ok(Some(here))
}

/// The parts of a path, the first one last.
fn split(path: &str) -> Vec<String> {
    path.rsplit('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}

fn find(nodes: &dyn Nodes, directory: u64, name: &str) -> Result<Option<u64>, Error> {
    let entries = nodes.entries(directory)?;
    if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
        return Ok(Some(entry.node));
    }
    if !nodes.ignores_case() {
        return Ok(None);
    }
    let wanted = name.to_lowercase();
    Ok(entries.iter().find(|entry| entry.name.to_lowercase() == wanted).map(|entry| entry.node))
}

#[cfg(test)]
mod tests {
    use block::{MemoryDisk, ReadAt};

    use super::*;
    use crate::files::{Content, Entry};

    /// Node 1 is the root; others are given as (number, parent, name, link target or nothing for a directory).
    struct Sample(Vec<(u64, u64, &'static str, Option<&'static str>)>, MemoryDisk);

    impl Nodes for Sample {
        fn root(&self) -> u64 {
            1
        }
        fn kind(&self, node: u64) -> Result<FileKind, Error> {
            let found = self.0.iter().find(|row| row.0 == node).and_then(|row| row.3);
            Ok(if found.is_some() { FileKind::Link } else { FileKind::Directory })
        }
        fn entries(&self, node: u64) -> Result<Vec<Entry>, Error> {
            let inside = self.0.iter().filter(|row| row.1 == node);
            Ok(inside.map(|row| Entry { name: row.2.to_owned(), node: row.0 }).collect())
        }
        fn content(&self, node: u64) -> Result<Content, Error> {
            let target = self.0.iter().find(|row| row.0 == node).and_then(|row| row.3).unwrap_or_default();
            Ok(Content::inline(target.as_bytes().to_vec()))
        }
        fn device(&self) -> &dyn ReadAt {
            &self.1
        }
        fn ignores_case(&self) -> bool {
            false
        }
    }

    fn sample() -> Sample {
        let rows = vec![
            (2, 1, "etc", None),
            (3, 1, "usr", None),
            (4, 3, "lib", None),
            (5, 2, "os-release", Some("../usr/lib")),
            (6, 2, "absolute", Some("/usr/lib")),
            (7, 2, "loop", Some("loop")),
            (8, 2, "up", Some("../../../usr")),
        ];
        Sample(rows, MemoryDisk::new(512))
    }

    fn find_path(path: &str) -> Result<Option<u64>, String> {
        let found = resolve(&sample(), path).map_err(|error| error.to_string())?;
        Ok(found.map(|(node, _)| node))
    }

    #[test]
    fn links_lead_on_from_where_they_stand() {
        assert_eq!(find_path("/etc/os-release"), Ok(Some(4)));
        assert_eq!(find_path("etc//./absolute/../lib"), Ok(Some(4)));
        assert_eq!(find_path("/etc/up/lib"), Ok(Some(4)));
        assert_eq!(find_path("/ETC"), Ok(None));
        assert_eq!(find_path("/"), Ok(Some(1)));
        assert_eq!(find_path("/etc/loop"), Err("more than 40 links in a path".into()));
    }
}
