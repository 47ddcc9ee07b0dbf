//! Who reaches whom: HTTP, WebSocket, stores, metrics.
