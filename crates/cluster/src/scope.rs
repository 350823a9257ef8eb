//! The one question before a node of a cluster is restored.

use serde::{Deserialize, Serialize};

/// Whether another node is still running, or kept, with newer data than the image.
///
/// There is no default: a mirror half that comes back from an image while its peer lived on calls itself up to date
/// with old data, unless it is marked; and one that is marked while its peer is gone too has no data at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Another node lives, or is kept: what this one holds of a mirror is older and must be overwritten by it.
    OneNode,
    /// All nodes are restored from images of one set: what they hold belongs together.
    AllNodes,
}
