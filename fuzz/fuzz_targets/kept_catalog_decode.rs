//! Any bytes as a catalog that a service kept: a catalog or an error. What could be read is written and read again without
//! change.

#![no_main]

use larder_contracts::catalog::{decode_kept, encode_kept, whole};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for bytes in [bytes, &[b"larder catalog 1\n", bytes].concat()] {
        let Ok(catalog) = decode_kept(bytes) else { continue };
        let again = decode_kept(&encode_kept(&catalog)).expect("what was written can be read");
        assert_eq!(whole(&again), whole(&catalog));
    }
});
