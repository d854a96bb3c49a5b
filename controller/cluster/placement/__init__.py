"""Where new sites and zones go: policies, roles of name servers, and the verdicts behind both."""
