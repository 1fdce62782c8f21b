//! Any bytes are a manifest or an error, never a panic; what was read is written and read back the same.

#![no_main]

use larder_push_log::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::decode("fuzz", bytes) {
        let written = manifest.encode().expect("what was read can be written");
        assert_eq!(Manifest::decode("fuzz", &written).expect("what was written can be read"), manifest);
    }
});
