-- Whether the consumers of the streams began with this file. While it is empty they begin anew: the file was just made, or
-- made again after an earlier one was lost, and everything the streams still hold belongs in it.
CREATE TABLE follows (
    since_ns INTEGER NOT NULL -- Unix time
);
