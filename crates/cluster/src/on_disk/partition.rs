//! What the type of a partition says.
//!
//! Source: the GUIDs that Microsoft documents for `PARTITION_INFORMATION_GPT` (winioctl.h).

use layout::Partition;

use crate::sharing::Evidence;

const CLUSTER_METADATA: &str = "db97dba9-0840-4bae-97f0-ffb9a327c7e1";
const STORAGE_REPLICA: &str = "558d43c5-a1ac-43c0-aac8-d1472b2923d1";

/// Evidence by the type alone.
pub fn evidence(partition: &Partition) -> Option<Evidence> {
    match partition.type_id.as_str() {
        CLUSTER_METADATA => {
            Some(Evidence::ClusterVolume { detail: "partition type Microsoft cluster metadata".into() })
        }
        STORAGE_REPLICA => Some(Evidence::MirrorHalf {
            software: "storage-replica".to_owned(),
            detail: "partition type Storage Replica".to_owned(),
            certain: true,
        }),
        _ => None,
    }
}
