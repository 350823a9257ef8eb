//! A plain copy with `smb2`: one connection, as many requests under way as the library sends by itself.

use std::time::Instant;

use smb2::{ClientConfig, SmbClient};

use super::{Rates, rate};
use crate::samba::{PASSWORD, USER};
use crate::smb_scene::Scene;

/// Writes a file and reads it back.
///
/// # Panics
/// Where anything fails.
pub fn plain(scene: &Scene, bytes: &[u8]) -> Rates {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ClientConfig {
        addr: format!("127.0.0.1:{}", scene.server.proxy.port()),
        username: USER.into(),
        password: PASSWORD.into(),
        // The target asks for neither: what is sent does not shrink, and a share is where it is.
        compression: false,
        dfs_enabled: false,
        ..ClientConfig::default()
    };
    runtime.block_on(async {
        let mut client = SmbClient::connect(config).await.unwrap();
        let mut tree = client.connect_share("images").await.unwrap();
        let began = Instant::now();
        client.write_file_pipelined(&tree, "plain", bytes).await.unwrap();
        let write = rate(bytes.len(), began);
        let began = Instant::now();
        let found = client.read_file_pipelined(&mut tree, "plain").await.unwrap();
        let read = rate(found.len(), began);
        assert!(found == bytes);
        client.delete_file(&tree, "plain").await.unwrap();
        Rates { write, read }
    })
}
