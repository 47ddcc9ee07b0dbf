//! One signed-in device at work, with no window.
