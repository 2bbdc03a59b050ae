//! Makes the messages and services of the gateway's protocol from its definition, without a compiler of protobuf
//! that the machine would have to have.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/lapse/v1/gateway.proto"], ["proto"])?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallCodec").compile_fds(files)?;
    Ok(())
}
