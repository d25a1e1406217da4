//! The replication machine of one log with many peers, and many logs on one connection.
