//! Answers that a service has encoded itself. The transport encodes a message when it is sent, on a thread that answers
//! calls: for a great one that takes as long as thousands of small ones. Such a message is encoded where it is made, and
//! goes out piece by piece, so that nothing but a piece is left of it once it is dropped.

use std::{
    any::Any,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use http_body::Frame;
use tonic::{
    Code, Response, Status,
    codegen::http::{Extensions, HeaderMap},
};

/// So much is handed to the transport at once, and small messages are sent together up to it.
const PIECE: usize = 64 << 10;

/// A message as it is sent, and what it keeps until it was, or will not be any more.
pub struct EncodedMessage {
    bytes: Vec<u8>,
    _kept: Option<Box<dyn Any + Send>>,
}

impl EncodedMessage {
    /// Encodes `message`.
    pub fn of(message: &impl prost::Message) -> Self {
        let length = message.encoded_len();
        let mut bytes = Vec::with_capacity(PREFIX + length);
        bytes.push(0);
        // No message of ours is as long as this.
        bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        message.encode_raw(&mut bytes);
        Self { bytes, _kept: None }
    }

    /// Its bytes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Drops `kept`, too, when it was sent.
    #[must_use]
    pub fn keeping(self, kept: impl Send + 'static) -> Self {
        Self { _kept: Some(Box::new((self._kept, kept))), ..self }
    }
}

/// A flag, and the length of the message.
const PREFIX: usize = 5;

/// The answer of one message.
pub fn encoded<T: Default>(message: EncodedMessage) -> Response<T> {
    replaced(T::default(), stream::iter([Ok(message)]))
}

/// What the generated code has an answer of many messages be.
pub type EncodedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The answer of many. The first error ends it.
pub fn encoded_stream<T: Send + 'static>(
    messages: impl Stream<Item = Result<EncodedMessage, Status>> + Send + 'static,
) -> Response<EncodedStream<T>> {
    replaced(Box::pin(stream::empty()), messages)
}

/// The endpoint takes the messages in place of `nothing`.
fn replaced<T>(
    nothing: T,
    messages: impl Stream<Item = Result<EncodedMessage, Status>> + Send + 'static,
) -> Response<T> {
    let mut response = Response::new(nothing);
    let messages: Messages = Box::pin(messages);
    response.extensions_mut().insert(Handed(Arc::new(Mutex::new(Some(messages)))));
    response
}

type Messages = Pin<Box<dyn Stream<Item = Result<EncodedMessage, Status>> + Send>>;

/// The messages on their way from the service to the endpoint: extensions are shared.
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Messages>>>);

/// The body of an answer that was encoded.
pub(super) struct EncodedBody {
    messages: Option<Messages>,
    small: BytesMut,
    /// A message that is sent in pieces, and how much of it was.
    great: Option<(EncodedMessage, usize)>,
    error: Option<Status>,
}

impl EncodedBody {
    /// The one that the service gave in place of its answer, if it did.
    pub(super) fn take_from(extensions: &mut Extensions) -> Option<Self> {
        let Handed(messages) = extensions.remove::<Handed>()?;
        let messages = messages.lock().unwrap_or_else(PoisonError::into_inner).take();
        messages.map(|messages| Self { messages: Some(messages), small: BytesMut::new(), great: None, error: None })
    }

    fn flush(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        if !self.small.is_empty() {
            return Some(Ok(Frame::data(self.small.split().freeze())));
        }
        let (message, sent) = self.great.as_mut()?;
        let end = message.bytes.len().min(*sent + PIECE);
        let piece = Bytes::copy_from_slice(&message.bytes[*sent..end]);
        *sent = end;
        if end == message.bytes.len() {
            self.great = None;
        }
        Some(Ok(Frame::data(piece)))
    }

    fn take_in(&mut self, message: EncodedMessage) {
        if message.bytes.len() > PIECE {
            self.great = Some((message, 0));
        } else {
            self.small.extend_from_slice(&message.bytes);
        }
    }

    fn is_full(&self) -> bool {
        self.great.is_some() || self.small.len() >= PIECE
    }
}

impl http_body::Body for EncodedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        while !this.is_full()
            && let Some(messages) = &mut this.messages
        {
            match messages.as_mut().poll_next(cx) {
                Poll::Pending => {
                    return this.flush().map_or(Poll::Pending, |frame| Poll::Ready(Some(frame)));
                }
                Poll::Ready(Some(Ok(message))) => this.take_in(message),
                Poll::Ready(end) => {
                    this.messages = None;
                    let status = end.and_then(Result::err);
                    this.error = Some(status.unwrap_or_else(|| Status::new(Code::Ok, "")));
                }
            }
        }
        if let Some(frame) = this.flush() {
            return Poll::Ready(Some(frame));
        }
        Poll::Ready(this.error.take().map(|status| {
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body::Body as _;
    use larder_contracts::serving::v1::GetOnlineFeaturesRequest;
    use prost::Message;
    use std::future::poll_fn;

    use super::*;

    fn message(size: usize) -> GetOnlineFeaturesRequest {
        GetOnlineFeaturesRequest { project: "x".repeat(size), ..Default::default() }
    }

    #[tokio::test]
    async fn messages_go_out_whole_in_pieces_and_keep_what_they_keep_until_then() {
        let sizes = [0, 7, PIECE, 3 * PIECE + 1, 1];
        let kept: Vec<_> = sizes.iter().map(|_| Arc::new(())).collect();
        let messages =
            sizes.iter().zip(kept.clone()).map(|(size, kept)| EncodedMessage::of(&message(*size)).keeping(kept));
        let messages: Vec<_> = messages.map(Ok).collect();
        let error = stream::iter([Err(Status::not_found("no more"))]);
        let mut response = encoded_stream::<()>(stream::iter(messages).chain(error));
        let mut body = EncodedBody::take_from(response.extensions_mut()).unwrap();
        let (mut bytes, mut trailers) = (Vec::new(), None);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(data) => {
                    assert!(data.len() < 2 * PIECE, "{}", data.len());
                    bytes.extend_from_slice(&data);
                }
                Err(frame) => trailers = Some(frame.into_trailers().unwrap()),
            }
        }
        assert!(kept.iter().all(|kept| Arc::strong_count(kept) == 1));
        assert_eq!(trailers.unwrap()["grpc-status"], "5");
        let mut rest = &bytes[..];
        for size in sizes {
            let length = u32::from_be_bytes(rest[1..PREFIX].try_into().unwrap()) as usize;
            assert_eq!(GetOnlineFeaturesRequest::decode(&rest[PREFIX..PREFIX + length]).unwrap(), message(size));
            rest = &rest[PREFIX + length..];
        }
        assert!(rest.is_empty());
    }
}
