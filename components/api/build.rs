//! Compiles the wire messages into OUT_DIR. No protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "proto/payplane/ledger/v1/ledger.proto";
    println!("cargo:rerun-if-changed={file}");
    let descriptors = protox::compile([file], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
