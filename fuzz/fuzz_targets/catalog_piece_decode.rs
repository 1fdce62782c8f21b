//! Any bytes as a piece of a catalog: a catalog or an error. What could be read is written and read again without change.

#![no_main]

use larder_contracts::{
    catalog::{Assembler, whole},
    registry::v1::CatalogPiece,
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let Ok(piece) = CatalogPiece::decode(bytes) else { return };
    let Ok(Some(catalog)) = Assembler::whole(None).add(CatalogPiece { last: true, ..piece }) else { return };
    let mut assembler = Assembler::whole(None);
    let again = whole(&catalog).into_iter().find_map(|piece| assembler.add(piece).expect("what was read can be sent"));
    let again = again.expect("a last piece");
    assert_eq!(whole(&again), whole(&catalog));
});
