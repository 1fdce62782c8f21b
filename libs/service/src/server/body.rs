//! The body of a request, watched while it comes in: the size of each message, the caller's silence in a stream, and the
//! end of a stream when the service stops.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use larder_types::Error;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};

use super::endpoint::{stopping, to_status};
use crate::config::{ByteSize, Span};

/// A gRPC message begins with a flag and its length.
const PREFIX: usize = 5;

/// What a request's body is held to.
pub(super) struct RequestBody {
    body: Body,
    sizes: MessageSizes,
    stream: Option<StreamRules>,
    /// What comes after the bytes that were let through.
    refused: Option<Status>,
}

/// What holds for every request of a service.
#[derive(Clone, Copy)]
pub(super) struct RequestRules {
    /// Which settings say so.
    pub(super) section: &'static str,
    /// The most bytes of a message.
    pub(super) max_bytes: ByteSize,
}

/// What holds for a stream of requests alone.
struct StreamRules {
    section: &'static str,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl RequestBody {
    /// The body of a unary request.
    pub(super) fn unary(body: Body, rules: RequestRules) -> Self {
        Self { body, sizes: MessageSizes::new(rules), stream: None, refused: None }
    }

    /// The body of a stream that may be silent for `idle_limit`, and ends on `stop`.
    pub(super) fn stream(
        body: Body,
        rules: RequestRules,
        idle_limit: Duration,
        stop: WaitForCancellationFutureOwned,
    ) -> Self {
        let silence = Box::pin(tokio::time::sleep(idle_limit));
        let stream = StreamRules { section: rules.section, limit: idle_limit, silence, stop: Box::pin(stop) };
        Self { body, sizes: MessageSizes::new(rules), stream: Some(stream), refused: None }
    }
}

impl StreamRules {
    /// Ready with the reason when the stream has to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(to_status(&stopping()));
        }
        ready!(self.silence.as_mut().poll(cx));
        let (limit, section) = (Span(self.limit), self.section);
        let message =
            format!("no message came for {limit} ({section}.server.stream_idle_limit): open the stream again");
        Poll::Ready(to_status(&Error::unavailable(message)))
    }

    fn heard(&mut self) {
        self.silence.as_mut().reset(Instant::now() + self.limit);
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(status) = this.refused.take() {
            return Poll::Ready(Some(Err(status)));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let Some(stream) = &mut this.stream else { return Poll::Pending };
            return stream.poll_end(cx).map(|status| Some(Err(status)));
        };
        if let Some(stream) = &mut this.stream {
            stream.heard();
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(TooGreat { before, error }) = this.sizes.see(data)
        {
            this.refused = Some(to_status(&error));
            return Poll::Ready(Some(Ok(Frame::data(data.slice(..before)))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.refused.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads the lengths of messages out of the bytes that pass by, however they are cut into frames.
struct MessageSizes {
    rules: RequestRules,
    prefix: [u8; PREFIX],
    have: usize,
    /// How much of the message at hand is still to come.
    rest: usize,
}

/// A message is above the limit.
struct TooGreat {
    /// How many of the bytes that were seen lie before it: the messages in them are as good as any.
    before: usize,
    error: Error,
}

impl MessageSizes {
    fn new(rules: RequestRules) -> Self {
        Self { rules, prefix: [0; PREFIX], have: 0, rest: 0 }
    }

    fn see(&mut self, all: &Bytes) -> Result<(), TooGreat> {
        let mut data = &all[..];
        let mut before = 0;
        while !data.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(data.len());
                self.rest -= passed;
                data.advance(passed);
                continue;
            }
            if self.have == 0 {
                before = all.len() - data.len();
            }
            let taken = (PREFIX - self.have).min(data.len());
            self.prefix[self.have..self.have + taken].copy_from_slice(&data[..taken]);
            self.have += taken;
            data.advance(taken);
            if self.have == PREFIX {
                self.begin_message().map_err(|error| TooGreat { before, error })?;
            }
        }
        Ok(())
    }

    fn begin_message(&mut self) -> Result<(), Error> {
        let [_, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length);
        self.have = 0;
        self.rest = length as usize;
        let RequestRules { section, max_bytes } = self.rules;
        if u64::from(length) <= max_bytes.0 {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "the request is {length} bytes long; the limit is {max_bytes} ({section}.server.max_request_bytes): send \
             less at a time"
        )))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(message);
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_message_over_the_limit_is_found_however_the_bytes_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..9, 1..60),
        ) {
            let limit = 30;
            let mut sizes = MessageSizes::new(RequestRules { section: "test", max_bytes: ByteSize(limit) });
            let bytes = Bytes::from(encode(&messages));
            let mut refused_at = None;
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                if at == bytes.len() || refused_at.is_some() {
                    break;
                }
                let end = (at + cut).min(bytes.len());
                refused_at = sizes.see(&bytes.slice(at..end)).err().map(|too_great| at + too_great.before);
                at = end;
            }
            let too_great = messages.iter().position(|message| message.len() as u64 > limit);
            prop_assert_eq!(refused_at.is_some(), too_great.is_some());
            // What comes before it is let through, and at most the beginning of its prefix.
            if let (Some(refused_at), Some(too_great)) = (refused_at, too_great) {
                let before = encode(&messages[..too_great]).len();
                prop_assert!((before..before + PREFIX).contains(&refused_at), "{} of {}", refused_at, before);
            }
        }
    }
}
