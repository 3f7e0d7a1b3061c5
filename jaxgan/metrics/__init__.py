"""What samples are worth: pure functions of features, and the networks that features come from."""
