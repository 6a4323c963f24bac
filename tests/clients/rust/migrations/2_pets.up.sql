CREATE TABLE pets (
    id SERIAL PRIMARY KEY,
    owner BIGINT NOT NULL REFERENCES people ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (owner, name)
);
INSERT INTO people (name, age) VALUES ('ann', 30), ('bob', 40);
INSERT INTO pets (owner, name) SELECT id, 'pet of ' || name FROM people;
