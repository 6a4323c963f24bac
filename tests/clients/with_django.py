"""Django: migrations of its own apps `contenttypes` and `auth` and of one made here, forth and back, and its ORM."""

import datetime
import os
import pathlib
import sys
import tempfile

import django
from django.conf import settings
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction

APP = {
    "__init__.py": "",
    "models.py": """
from django.contrib.auth.models import User
from django.db import models


class Author(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE, null=True)
    name = models.CharField(max_length=80, unique=True)
    born = models.DateField(null=True, db_index=True)
    rating = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    notes = models.JSONField(default=dict)


class Book(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    title = models.TextField()
    key = models.UUIDField(null=True)
    added = models.DateTimeField(auto_now_add=True)
    readers = models.ManyToManyField(User)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["author", "title"], name="one_title")]
""",
}


def configure(directory):
    app = directory / "library"
    (app / "migrations").mkdir(parents=True)
    (app / "migrations" / "__init__.py").touch()
    for name, text in APP.items():
        (app / name).write_text(text)
    sys.path.insert(0, str(directory))
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "library"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "with_django",
                "USER": "root",
                "HOST": "127.0.0.1",
                "PORT": os.environ["PGPORT"],
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def migrate(directory):
    """Everything forth; a second migration that changes a filled table; back to nothing, and forth again."""
    call_command("migrate", verbosity=0)
    call_command("makemigrations", "library", verbosity=0)
    call_command("migrate", verbosity=0)

    from library.models import Author

    Author.objects.create(name="before")
    (directory / "library" / "migrations" / "0002_more.py").write_text(
        """
from django.db import migrations, models


def fill(apps, schema_editor):
    author = apps.get_model("library", "Author")
    author.objects.update(nick="n")


class Migration(migrations.Migration):
    dependencies = [("library", "0001_initial")]
    operations = [
        migrations.AddField("Author", "nick", models.CharField(max_length=10, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("Author", "nick", models.CharField(max_length=20, default="")),
        migrations.RenameField("Author", "nick", "pen_name"),
        migrations.AddIndex("Author", models.Index(fields=["pen_name", "-born"], name="by_pen_name")),
        migrations.AddConstraint("Author", models.CheckConstraint(condition=models.Q(rating__gte=0), name="not_below")),
        migrations.CreateModel("Shelf", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=20)),
            ("books", models.ManyToManyField("library.book")),
        ]),
        migrations.RenameModel("Shelf", "Rack"),
        migrations.RemoveConstraint("Book", "one_title"),
        migrations.AlterUniqueTogether("Book", {("author", "title")}),
        migrations.RemoveField("Book", "key"),
    ]
"""
    )
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pen_name FROM library_author")
        assert cursor.fetchall() == [("n",)]
        tables = connection.introspection.table_names(cursor)
        assert {"library_rack", "library_rack_books", "auth_user"} <= set(tables), tables
        keys = connection.introspection.get_constraints(cursor, "library_author")
        assert keys["by_pen_name"]["columns"] == ["pen_name", "born"], keys
        assert keys["by_pen_name"]["orders"] == ["ASC", "DESC"], keys
        assert keys["not_below"]["check"], keys
    call_command("migrate", "library", "0001", verbosity=0)
    call_command("migrate", "library", "zero", verbosity=0)
    call_command("migrate", "auth", "zero", verbosity=0)
    call_command("migrate", "auth", verbosity=0)
    call_command("migrate", "library", "0001", verbosity=0)


def use():
    from django.contrib.auth.models import Group, Permission, User
    from library.models import Author, Book

    user = User.objects.create_user("ann", password="secret")
    assert User.objects.get(username="ann").check_password("secret")
    group = Group.objects.create(name="readers")
    group.permissions.set(Permission.objects.filter(codename__startswith="view_"))
    user.groups.add(group)
    assert User.objects.get(pk=user.pk).has_perm("library.view_book")

    author = Author.objects.create(user=user, name="Ann", born=datetime.date(1970, 1, 2), notes={"a": [1, {"b": None}]})
    Author.objects.bulk_create([Author(name=f"a{i}", rating=i) for i in range(20)])
    books = Book.objects.bulk_create([Book(author=author, title=f"t{i}") for i in range(5)])
    books[0].readers.add(user)
    assert Author.objects.get(notes__a__1__b=None).name == "Ann"
    assert Author.objects.filter(name__icontains="ANN").count() == 1
    counted = Author.objects.annotate(n=models.Count("books")).filter(n__gt=0).values_list("name", "n")
    assert list(counted) == [("Ann", 5)], counted
    assert Author.objects.aggregate(models.Sum("rating"))["rating__sum"] == 190
    latest = Book.objects.filter(author=models.OuterRef("pk")).order_by("-pk").values("title")[:1]
    assert Author.objects.annotate(last=models.Subquery(latest)).get(name="Ann").last == "t4"
    assert Author.objects.filter(models.Exists(Book.objects.filter(author=models.OuterRef("pk")))).count() == 1
    assert {a.name: len(a.books.all()) for a in Author.objects.prefetch_related("books")}["Ann"] == 5
    assert Author.objects.filter(name="a3").update(rating=models.F("rating") + 1) == 1
    assert Author.objects.dates("born", "year").first() == datetime.date(1970, 1, 1)
    assert Author.objects.update_or_create(name="a4", defaults={"rating": 9})[1] is False
    assert Author.objects.order_by("name").first() == Author.objects.earliest("name")
    assert Book.objects.select_related("author__user").get(title="t1").author.user == user
    with transaction.atomic():
        assert Author.objects.select_for_update().get(name="a5").rating == 5

    # A key that is broken is one at the end of the transaction, and one that is taken at once.
    try:
        with transaction.atomic():
            Book.objects.create(author_id=999_999, title="lost")
            Book.objects.filter(title="lost").update(title="still lost")
        raise AssertionError("a book without an author")
    except IntegrityError:
        pass
    with transaction.atomic():
        try:
            with transaction.atomic():
                Author.objects.create(name="Ann")
            raise AssertionError("two of a name")
        except IntegrityError:
            pass
        Author.objects.create(name="after")
    connection.check_constraints()
    assert not Book.objects.filter(title__contains="lost").exists()
    assert Author.objects.filter(name__in=["after", "a6"]).delete()[0] == 2


def back_up_and_restore(directory):
    from library.models import Author, Book

    before = (list(Author.objects.order_by("pk").values()), list(Book.objects.order_by("pk").values()))
    options = ["nodelocal://self/django", "a passphrase that is long"]
    with connection.cursor() as cursor:
        cursor.execute("BACKUP DATABASE with_django INTO %s WITH encryption_passphrase = %s", options)
        cursor.execute("USE defaultdb")
        cursor.execute("DROP DATABASE with_django CASCADE")
        cursor.execute("RESTORE DATABASE with_django FROM LATEST IN %s WITH encryption_passphrase = %s", options)
    connection.close()
    assert before == (list(Author.objects.order_by("pk").values()), list(Book.objects.order_by("pk").values()))
    Author.objects.create(name="after the restore")
    try:
        with transaction.atomic():
            Book.objects.create(author_id=999_999, title="lost")
        raise AssertionError("a book without an author, after the restore")
    except IntegrityError:
        pass
    # It reads with a cursor of the server.
    assert [author.pk for author in Author.objects.order_by("pk").iterator(chunk_size=1)] == list(
        Author.objects.order_by("pk").values_list("pk", flat=True)
    )
    call_command("flush", verbosity=0, interactive=False)
    assert not Author.objects.exists()


def main():
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={os.environ['PGPORT']} user=root dbname=defaultdb", autocommit=True) as own:
        own.execute("CREATE DATABASE with_django")
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        configure(directory)
        migrate(directory)
        use()
        back_up_and_restore(directory)
    print("Django: migrations, ORM, backup and restore")


main()
