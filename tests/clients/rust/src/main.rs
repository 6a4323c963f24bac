//! The drivers of Rust: tokio-postgres, and sqlx with its migrations.

mod with_sqlx;
mod with_tokio_postgres;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let port = std::env::var("PGPORT")?;
    with_tokio_postgres::run(&port).await?;
    println!("tokio-postgres: values, pipelines, COPY, cancel, backup and restore");
    with_sqlx::run(&port).await?;
    println!("sqlx: migrations, values, errors, backup and restore");
    Ok(())
}
