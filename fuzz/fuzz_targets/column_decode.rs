//! Any bytes as a column: an array or an error. What could be read is written and read again without change.

#![no_main]

use larder_contracts::{
    Path,
    columns::{decode, encode},
    types::v1::Column,
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let Ok(column) = Column::decode(bytes) else { return };
    let rows = column.length as usize;
    let Ok(array) = decode(column, &Path::ROOT.field("column")) else { return };
    assert_eq!(array.len(), rows);
    array.to_data().validate_full().expect("what was read is valid");
    let written = encode(&array).expect("what was read can be written");
    let again = decode(written.clone(), &Path::ROOT).expect("what was written can be read");
    let written_again = encode(&again).expect("what was read can be written");
    // As bytes, since NaN is not equal to itself.
    assert_eq!(written.encode_to_vec(), written_again.encode_to_vec());
});
