//! A store of the process fails for good.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_codec::{RowEncoder, RowSchema};
use larder_online_store::{
    EmbeddedConfig, EmbeddedStore, KeyWrite, OnlineStore, RowWrite, WriteMode, forgetful::ForgetfulFile,
};
use larder_registry_store::ObjectRegistryStore;
use larder_service::{Shutdown, config::ServerConfig};
use larder_standalone::{Config, Deps, build_on, stores::Stores};
use larder_types::{ErrorCode, RowSetNumber, SchemaNumber, SystemClock, Timestamp};
use object_store::{memory::InMemory, path::Path};

async fn write(store: &dyn OnlineStore, key: &'static str) -> larder_types::Result<()> {
    let schema = RowSchema::new(SchemaNumber(1), Vec::new())?;
    let row = RowEncoder::new(&schema).encode(&[], &[1], &[1], None)?.slice(0);
    let row = RowWrite { row_set: RowSetNumber(1), row, expires_at: None };
    let write = KeyWrite { key: Bytes::from_static(key.as_bytes()), rows: vec![row] };
    store.write(vec![write], WriteMode::Newest, Timestamp::MIN).await.map(drop)
}

fn config(data: &std::path::Path) -> Config {
    let mut config = Config { data: data.to_owned(), ..Config::default() };
    let servers = [
        &mut config.registry.server,
        &mut config.serving.server,
        &mut config.push_ingest.server,
        &mut config.materializer.server,
    ];
    servers.into_iter().for_each(|server| *server = ServerConfig::on_port(0));
    config.materializer.spill_folder = Some(data.to_owned());
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_online_store_failed_ends_and_says_why() {
    let folder = larder_test_kit::temporary_folder();
    let disk = ForgetfulFile::default();
    let online: Arc<dyn OnlineStore> =
        Arc::new(EmbeddedStore::open_on(disk.clone(), &EmbeddedConfig::default()).unwrap());
    let stores = Stores {
        registry: Arc::new(ObjectRegistryStore::new(Arc::new(InMemory::new()), Path::default())),
        online: Arc::clone(&online),
        push_log: Arc::new(InMemory::new()),
    };
    let shutdown = Shutdown::new();
    let deps = Deps { clock: Arc::new(SystemClock), shutdown };
    let app = build_on(&config(folder.path()), deps, stores, None).await.unwrap();
    let admin = app.addresses().admin;
    let running = tokio::spawn(app.run());
    let ask = move |path| larder_test_kit::get(admin, path).unwrap();
    let (ready, metrics) = tokio::task::spawn_blocking(move || (ask("/readyz"), ask("/metrics").1)).await.unwrap();
    assert_eq!(ready, (200, "ready\n".to_owned()));
    for condition in ["online store", "push log", "catalogs of serving", "catalogs of push-ingest"] {
        assert!(metrics.contains(&format!("larder_condition_met{{condition=\"{condition}\"}} 1")), "{metrics}");
    }
    write(&*online, "1.1:a").await.unwrap();
    disk.fail();
    assert_eq!(write(&*online, "1.1:b").await.unwrap_err().code(), ErrorCode::Unavailable);
    let error = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert!(error.message().starts_with("background task `readiness`: online store: the online store's file could not be read or written: I/O error: the disk is gone"), "{error}");
}
