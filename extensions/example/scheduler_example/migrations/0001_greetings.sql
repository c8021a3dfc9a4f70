-- Applied once, before a job of this extension runs. To change a table later, add 0002_….sql.

CREATE TABLE example_greetings (
    name text PRIMARY KEY,
    times bigint NOT NULL
);
