//! What two peers say to each other: frames of protomux and the messages of `hypercore/alpha`.
