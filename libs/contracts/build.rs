//! Generates messages, clients and servers from `proto/`, without a system protoc, and keeps the descriptors for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const ROOT: &str = "../../proto";
const FILES: [&str; 7] = [
    "larder/types/v1/types.proto",
    "larder/registry/v1/objects.proto",
    "larder/registry/v1/registry.proto",
    "larder/registry/v1/runs.proto",
    "larder/serving/v1/serving.proto",
    "larder/push/v1/push.proto",
    "larder/materializer/v1/materializer.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let descriptors = protox::compile(FILES, [ROOT])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("larder_descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").btree_map(".").build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
