//! Readable tables of what rooms do.
