import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;

/** The JDBC driver of PostgreSQL: its metadata, batches, fetch sizes, updatable results, backup and restore. In a zone that is not UTC. */
public class WithJdbc {
    static void check(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) throw new AssertionError("found " + found + ", not " + wanted);
    }

    static List<String> rows(ResultSet results, String... columns) throws SQLException {
        List<String> rows = new ArrayList<>();
        while (results.next()) {
            StringJoiner row = new StringJoiner(" ");
            for (String column : columns) row.add(results.getString(column));
            rows.add(row.toString());
        }
        return rows;
    }

    static Connection connect(String database) throws SQLException {
        String port = System.getenv("PGPORT");
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/" + database, "root", "");
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        check(rows(data.getTables(null, "app", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME", "TABLE_TYPE", "REMARKS"),
            List.of("maker TABLE who made it", "part TABLE null", "dear VIEW null"));
        check(rows(data.getColumns(null, "app", "part", "%"), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "IS_NULLABLE", "IS_AUTOINCREMENT"),
            List.of("id bigserial 19 NO YES", "maker int4 10 YES NO", "name varchar 40 NO NO", "price numeric 10 YES NO",
                "made timestamptz 35 YES NO", "took interval 49 YES NO", "tags _text 2147483647 YES NO"));
        check(rows(data.getPrimaryKeys(null, "app", "maker"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"),
            List.of("country 1 maker_pkey", "id 2 maker_pkey"));
        check(rows(data.getImportedKeys(null, "app", "part"), "PKTABLE_NAME", "PKCOLUMN_NAME", "FKCOLUMN_NAME", "DELETE_RULE"),
            List.of("maker number maker " + DatabaseMetaData.importedKeyCascade));
        check(rows(data.getExportedKeys(null, "app", "maker"), "FKTABLE_NAME", "FKCOLUMN_NAME"), List.of("part maker"));
        check(rows(data.getIndexInfo(null, "app", "part", false, false), "INDEX_NAME", "NON_UNIQUE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC"),
            List.of("part_pkey f 1 id A", "part_price t 1 price D", "part_price t 2 name A"));
        check(rows(data.getSchemas(), "TABLE_SCHEM").containsAll(List.of("app", "public", "pg_catalog", "information_schema")), true);
        check(rows(data.getTypeInfo(), "TYPE_NAME").containsAll(List.of("int4", "numeric", "text", "timestamptz", "uuid", "jsonb")), true);
    }

    static void values(Connection connection) throws SQLException {
        OffsetDateTime at = OffsetDateTime.of(2026, 7, 1, 12, 30, 15, 123_456_000, ZoneOffset.ofHours(2));
        String insert = "INSERT INTO app.part (maker, name, price, made, tags) VALUES (?, ?, ?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            for (int number = 1; number <= 100; number++) {
                statement.setInt(1, 1 + number % 2);
                statement.setString(2, "part " + number);
                statement.setBigDecimal(3, number % 10 == 0 ? null : new BigDecimal(number + ".25"));
                statement.setObject(4, at.plusDays(number));
                statement.setArray(5, connection.createArrayOf("text", new String[] {"a\"b", null}));
                statement.addBatch();
            }
            check(statement.executeBatch().length, 100);
            check(rows(statement.getGeneratedKeys(), "id").size(), 100);
        }
        // Often enough for the driver to prepare it on the server, and to ask for binary values.
        try (PreparedStatement statement = connection.prepareStatement("SELECT name, price, made, tags, id + 1 AS next FROM app.part WHERE id = ? AND name <> ?")) {
            for (int number = 1; number <= 12; number++) {
                statement.setLong(1, number);
                statement.setString(2, "another");
                ResultSet found = statement.executeQuery();
                check(found.next(), true);
                check(found.getString("name"), "part " + number);
                check(found.getBigDecimal("price"), number == 10 ? null : new BigDecimal(number + ".25"));
                check(found.getObject("made", OffsetDateTime.class).toInstant(), at.plusDays(number).toInstant());
                check(Arrays.asList((String[]) found.getArray("tags").getArray()), Arrays.asList("a\"b", null));
                check(found.getLong("next"), number + 1L);
                check(found.getMetaData().getTableName(1), "part");
            }
        }
    }

    static void results(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(7);
            check(rows(statement.executeQuery("SELECT id FROM app.part ORDER BY id OFFSET 10 ROWS FETCH FIRST 50 ROWS ONLY"), "id").size(), 50);
            Savepoint savepoint = connection.setSavepoint("before");
            try {
                statement.executeUpdate("INSERT INTO app.part (id, name) VALUES (1, 'again')");
                throw new AssertionError("a number twice");
            } catch (SQLException error) {
                check(error.getSQLState(), "23505");
            }
            connection.rollback(savepoint);
        }
        try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            ResultSet found = statement.executeQuery("SELECT id, name, price FROM app.part WHERE id <= 3 ORDER BY id");
            check(found.last(), true);
            found.updateString("name", "changed in its result");
            found.updateRow();
            check(found.absolute(1), true);
            found.deleteRow();
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            check(rows(statement.executeQuery("SELECT id, name FROM app.part WHERE id <= 3 ORDER BY id"), "id", "name"),
                List.of("2 part 2", "3 changed in its result"));
            check(rows(statement.executeQuery("SELECT 1 AS one, to_char(TIMESTAMP '2026-01-02 03:04:05', 'YYYY/MM/DD HH24:MI') AS at"), "one", "at"),
                List.of("1 2026/01/02 03:04"));
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery("SELECT pg_sleep(20)");
                throw new AssertionError("not canceled");
            } catch (SQLException error) {
                check(error.getSQLState(), "57014");
            }
        }
    }

    static void backup(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("BACKUP DATABASE jdbc INTO ? WITH encryption_passphrase = ?")) {
            statement.setString(1, "nodelocal://1/jdbc");
            statement.setString(2, "a secret");
            check(rows(statement.executeQuery(), "status"), List.of("succeeded"));
        }
        String restore = "RESTORE DATABASE jdbc FROM LATEST IN ? WITH encryption_passphrase = ?, new_db_name = 'jdbc2'";
        try (PreparedStatement statement = connection.prepareStatement(restore)) {
            statement.setString(1, "nodelocal://1/jdbc");
            statement.setString(2, "a secret");
            check(rows(statement.executeQuery(), "status"), List.of("succeeded"));
        }
        try (Connection restored = connect("jdbc2")) {
            metadata(restored);
            check(rows(restored.createStatement().executeQuery("SELECT count(*) AS n FROM app.part"), "n"), List.of("99"));
        }
    }

    public static void main(String[] arguments) throws SQLException {
        TimeZone.setDefault(TimeZone.getTimeZone("Europe/Berlin"));
        try (Connection first = connect("defaultdb")) {
            first.createStatement().execute("CREATE DATABASE jdbc");
        }
        try (Connection connection = connect("jdbc")) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("CREATE SCHEMA app;"
                    + "CREATE TABLE app.maker (id INT4, country TEXT, number INT4 UNIQUE, PRIMARY KEY (country, id));"
                    + "CREATE TABLE app.part (id BIGSERIAL PRIMARY KEY, maker INT4 REFERENCES app.maker (number) ON DELETE CASCADE, name VARCHAR(40) NOT NULL,"
                    + " price NUMERIC(10, 2), made TIMESTAMPTZ, took INTERVAL, tags TEXT[]);"
                    + "CREATE INDEX part_price ON app.part (price DESC, name);"
                    + "CREATE VIEW app.dear AS SELECT * FROM app.part WHERE price > 50;"
                    + "COMMENT ON TABLE app.maker IS 'who made it';"
                    + "INSERT INTO app.maker VALUES (1, 'DE', 1), (2, 'FR', 2)");
            }
            metadata(connection);
            values(connection);
            results(connection);
            backup(connection);
        }
        System.out.println("JDBC: metadata, batches, results, backup and restore");
    }
}
