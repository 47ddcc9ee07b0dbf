//! Short stories of the queue.
