//! How messages become bytes: as protobuf, in small buffers. A gateway has a connection to each of ten thousand hosts, on which
//! hardly anything is said.

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What a buffer has at first, and grows by, in bytes.
const BUFFER: usize = 1024;
/// How much is gathered before it is sent, in bytes.
const GATHERED: usize = 32 * 1024;

/// Protobuf in small buffers.
#[derive(Clone, Debug)]
pub(crate) struct SmallCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::new())
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, GATHERED))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, GATHERED))
    }
}
