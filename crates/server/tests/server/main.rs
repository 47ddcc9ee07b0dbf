//! The real server on a free port, with real sockets and requests. One program, so that it is linked once.

mod bad_input;
mod calls;
mod checks;
mod common;
mod hostile;
mod older;
mod operation;
mod outage;
mod relay;
mod rest;
mod rooms;
mod sessions;
mod tokens;
