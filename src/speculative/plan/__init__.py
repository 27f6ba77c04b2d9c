"""Plans work: profiles of servers, chains on a virtual clock, policies by load."""
