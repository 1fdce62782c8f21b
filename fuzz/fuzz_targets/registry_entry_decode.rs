//! Any bytes as an entry of the registry's store: its content or an error, and its content is exactly what follows the first
//! line.

#![no_main]

use std::sync::Arc;

use futures::executor::block_on;
use larder_registry_store::{Log, ObjectRegistryStore, RegistryStore};
use libfuzzer_sys::fuzz_target;
use object_store::{ObjectStoreExt, memory::InMemory, path::Path};

fuzz_target!(|bytes: &[u8]| {
    for bytes in [bytes.to_vec(), [b"larder-registry-entry/1 ", bytes].concat()] {
        let objects = Arc::new(InMemory::new());
        let place = Path::from("projects/00000000000000000001");
        block_on(objects.put(&place, bytes.clone().into())).expect("memory takes everything");
        let store = ObjectRegistryStore::new(objects, Path::default());
        let Ok(content) = block_on(store.read(Log::Projects, 1)) else { continue };
        let content = content.expect("the entry is there");
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a header is a line");
        assert_eq!(content, bytes[end + 1..]);
    }
});
