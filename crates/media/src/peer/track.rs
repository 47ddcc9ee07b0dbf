//! Our sound as the library takes it: a track whose packets carry the payload type that their form has at the far side.
//!
//! Sequence numbers and timestamps are ours, the source's number (SSRC) is the library's. A packet sent twice must be the
//! same twice: the same number with other content would be enciphered with the same key stream (RFC 3711, section 9.1).

use super::codecs::Numbers;
use crate::pipeline::{Form, Outbound};
use async_trait::async_trait;
use bytes::Bytes;
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use webrtc::Error;
use webrtc::api::media_engine::MIME_TYPE_OPUS;
use webrtc::rtp::header::Header;
use webrtc::rtp::packet::Packet;
use webrtc::rtp_transceiver::rtp_codec::{RTCRtpCodecParameters, RTPCodecType};
use webrtc::track::track_local::{TrackLocal, TrackLocalContext, TrackLocalWriter};

pub struct Track {
    id: String,
    stream: String,
    bound: Mutex<Option<Bound>>,
}

#[derive(Clone)]
struct Bound {
    id: String,
    ssrc: u32,
    writer: Arc<dyn TrackLocalWriter + Send + Sync>,
}

impl Track {
    pub fn new(id: &str, stream: &str) -> Self {
        Self { id: id.to_owned(), stream: stream.to_owned(), bound: Mutex::new(None) }
    }

    /// The number of our source, once both descriptions are set.
    pub fn ssrc(&self) -> Option<u32> {
        self.bound().map(|bound| bound.ssrc)
    }

    pub async fn send(&self, packet: &Outbound, numbers: Numbers) -> Result<(), Error> {
        let Some(bound) = self.bound() else { return Ok(()) };
        let (payload_type, payload) = match (packet.form, numbers.red) {
            (Form::Opus, _) => (numbers.opus, packet.payload.clone()),
            (Form::Red, Some(red)) => (red, renumbered(&packet.payload, numbers.opus)),
            // Nobody asked for it: a road adds copies only for whom it was told to.
            (Form::Red, None) => return Ok(()),
        };
        let header = Header {
            version: 2,
            marker: packet.marker,
            payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: bound.ssrc,
            ..Header::default()
        };
        bound.writer.write_rtp(&Packet { header, payload }).await.map(drop)
    }

    fn bound(&self) -> Option<Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The same redundant packet with the far side's number of Opus in its blocks' headers (RFC 2198, section 3).
fn renumbered(packet: &Bytes, opus: u8) -> Bytes {
    if opus == crate::pipeline::OPUS_PAYLOAD_TYPE {
        return packet.clone();
    }
    const FURTHER: u8 = 0x80;
    let (mut bytes, mut at) = (packet.to_vec(), 0);
    while let Some(byte) = bytes.get_mut(at) {
        let further = *byte & FURTHER;
        *byte = further | opus;
        if further == 0 {
            break;
        }
        at += 4;
    }
    bytes.into()
}

#[async_trait]
impl TrackLocal for Track {
    async fn bind(&self, context: &TrackLocalContext) -> Result<RTCRtpCodecParameters, Error> {
        let opus = |codec: &&RTCRtpCodecParameters| codec.capability.mime_type.eq_ignore_ascii_case(MIME_TYPE_OPUS);
        let codec = context.codec_parameters().iter().find(opus).ok_or(Error::ErrUnsupportedCodec)?;
        let bound = Bound { id: context.id(), ssrc: context.ssrc(), writer: context.write_stream() };
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
        Ok(codec.clone())
    }

    async fn unbind(&self, context: &TrackLocalContext) -> Result<(), Error> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).take_if(|bound| bound.id == context.id());
        Ok(())
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn rid(&self) -> Option<&str> {
        None
    }

    fn stream_id(&self) -> &str {
        &self.stream
    }

    fn kind(&self) -> RTPCodecType {
        RTPCodecType::Audio
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_get_the_far_sides_number_and_nothing_else_changes() {
        let packet = Bytes::from_static(&[0x80 | 111, 0x0F, 0x00, 2, 0x80 | 111, 0x07, 0x80, 1, 111, 7, 7, 8, 9]);
        let expected = [0x80 | 96, 0x0F, 0x00, 2, 0x80 | 96, 0x07, 0x80, 1, 96, 7, 7, 8, 9];
        assert_eq!(renumbered(&packet, 96)[..], expected);
        assert_eq!(renumbered(&packet, 111), packet);
        // What has no end is left as it is.
        assert_eq!(renumbered(&Bytes::from_static(&[0x80 | 111]), 96)[..], [0x80 | 96]);
        assert!(renumbered(&Bytes::new(), 96).is_empty());
    }
}
