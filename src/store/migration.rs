//! Numbered steps from one schema version to the next; append only.
