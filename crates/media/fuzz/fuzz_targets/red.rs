//! What is read as a redundant packet is written and read as the same again.

#![no_main]

use bellwire_media::red;
use bytes::Bytes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(blocks) = red::read(&Bytes::copy_from_slice(bytes)) {
        assert_eq!(red::read(&red::write(111, &blocks)).as_ref(), Some(&blocks));
    }
});
