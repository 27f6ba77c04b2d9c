"""What each kind of server is sent, and how its answers are read: one file a kind."""
