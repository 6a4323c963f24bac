ALTER TABLE people ALTER COLUMN age TYPE BIGINT, ADD COLUMN nick VARCHAR(20) NOT NULL DEFAULT 'none';
ALTER TABLE pets RENAME COLUMN name TO called;
CREATE VIEW owners AS SELECT p.name, count(*) AS pets FROM people p JOIN pets t ON t.owner = p.id GROUP BY p.name;
