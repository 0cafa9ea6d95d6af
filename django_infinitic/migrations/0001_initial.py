from django.db import migrations, models

from django_infinitic.migrations._operations import VendorSQL

# Rows of these tables come and go, or are updated: vacuum by number, not by share (B5).
BUSY = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000"
)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="CustomId",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "custom_id",
                        "workflow",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("custom_id", models.CharField(max_length=255)),
                ("workflow", models.CharField(max_length=255)),
                ("instance", models.UUIDField()),
            ],
            options={
                "db_table": "infinitic_custom_id",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "instance",
                        "stream",
                        "seq",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("instance", models.UUIDField()),
                ("stream", models.IntegerField()),
                ("seq", models.IntegerField()),
                ("step", models.IntegerField()),
                ("body", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Tag",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tag",
                        "workflow",
                        "ended",
                        "instance",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("tag", models.CharField(max_length=255)),
                ("workflow", models.CharField(max_length=255)),
                ("ended", models.BooleanField(db_default=False, default=False)),
                ("instance", models.UUIDField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False, verbose_name="id")),
                ("name", models.CharField(max_length=255, verbose_name="name")),
                ("host", models.CharField(max_length=255, verbose_name="host")),
                ("pid", models.IntegerField(verbose_name="process")),
                ("started_at", models.DateTimeField(verbose_name="started")),
                ("expires_at", models.DateTimeField(verbose_name="lease until")),
                ("dead", models.BooleanField(db_default=False, default=False, verbose_name="dead")),
                ("suspect", models.UUIDField(blank=True, null=True, verbose_name="suspect")),
                ("info", models.JSONField(blank=True, default=dict, verbose_name="about it")),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("part", models.BigIntegerField()),
                ("instance", models.UUIDField()),
                ("kind", models.SmallIntegerField()),
                ("parked", models.BooleanField(db_default=False, default=False)),
                ("created", models.BigIntegerField()),
                ("body", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["instance"], name="infinitic_message_instance")],
            },
        ),
        migrations.CreateModel(
            name="Outcome",
            fields=[
                ("method", models.UUIDField(primary_key=True, serialize=False)),
                ("instance", models.UUIDField()),
                ("seq", models.IntegerField()),
                ("status", models.SmallIntegerField()),
                ("body", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["instance"], name="infinitic_outcome_instance")],
            },
        ),
        migrations.CreateModel(
            name="Part",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("workflow", models.CharField(max_length=255)),
                ("n", models.SmallIntegerField()),
                ("owner", models.BigIntegerField(null=True)),
                ("wanted_by", models.BigIntegerField(null=True)),
                ("min_version", models.IntegerField(db_default=0, default=0)),
                ("freed_at", models.BigIntegerField(null=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("workflow", "n"), name="infinitic_part_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("instance", models.UUIDField()),
                ("part", models.BigIntegerField()),
                ("workflow", models.CharField(max_length=255)),
                ("service", models.CharField(max_length=255)),
                ("name", models.CharField(max_length=255)),
                ("stream", models.IntegerField()),
                ("position", models.IntegerField()),
                ("worker", models.BigIntegerField(null=True)),
                ("attempt", models.IntegerField()),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[(0, "Queued"), (1, "Claimed"), (2, "Delegated")],
                        db_default=0,
                        default=0,
                    ),
                ),
                (
                    "mode",
                    models.SmallIntegerField(
                        choices=[(0, "Normal"), (1, "Canceled"), (2, "Expired")],
                        db_default=0,
                        default=0,
                    ),
                ),
                ("delegated", models.BooleanField(db_default=False, default=False)),
                ("priority", models.SmallIntegerField(db_default=0, default=0)),
                ("ready_at", models.BigIntegerField()),
                ("body", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["instance"], name="infinitic_task_instance")],
            },
        ),
        migrations.CreateModel(
            name="Timer",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("part", models.BigIntegerField()),
                ("due", models.BigIntegerField()),
                ("instance", models.UUIDField()),
                ("body", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["part", "due"], name="infinitic_timer_due")],
            },
        ),
        migrations.CreateModel(
            name="WorkflowInstance",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False, verbose_name="id")),
                (
                    "name",
                    models.CharField(db_column="workflow", max_length=255, verbose_name="workflow"),
                ),
                ("version", models.IntegerField(blank=True, null=True, verbose_name="version")),
                (
                    "status",
                    models.SmallIntegerField(
                        choices=[
                            (0, "running"),
                            (1, "stalled"),
                            (2, "blocked"),
                            (3, "canceling"),
                            (4, "completed"),
                            (5, "failed"),
                            (6, "canceled"),
                        ],
                        db_default=0,
                        default=0,
                        verbose_name="status",
                    ),
                ),
                (
                    "waiting_for",
                    models.TextField(blank=True, null=True, verbose_name="waiting for"),
                ),
                (
                    "waiting_since",
                    models.DateTimeField(blank=True, null=True, verbose_name="waiting since"),
                ),
                ("tags", models.JSONField(blank=True, default=list, verbose_name="tags")),
                (
                    "started_by",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=255,
                        verbose_name="started by",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="started")),
                ("closed_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                ("custom_id", models.CharField(editable=False, max_length=255, null=True)),
                ("part", models.BigIntegerField(editable=False)),
                ("method", models.CharField(editable=False, max_length=255)),
                ("parent", models.UUIDField(editable=False, null=True)),
                ("requester", models.JSONField(editable=False, null=True)),
                ("meta", models.JSONField(default=dict, editable=False)),
                ("waiting_kind", models.SmallIntegerField(editable=False, null=True)),
                ("streams", models.IntegerField(db_default=2, default=2, editable=False)),
                ("open", models.TextField(db_default="2", default="2", editable=False)),
                ("queued", models.IntegerField(db_default=0, default=0, editable=False)),
                ("properties", models.BinaryField(null=True)),
                ("properties_step", models.IntegerField(db_default=0, default=0, editable=False)),
                (
                    "local_tasks",
                    models.BooleanField(db_default=False, default=False, editable=False),
                ),
                ("crashes", models.SmallIntegerField(db_default=0, default=0, editable=False)),
                ("error", models.TextField(db_default="", default="", editable=False)),
                ("foreign_id", models.CharField(editable=False, max_length=255, null=True)),
            ],
            options={
                "verbose_name": "workflow",
                "verbose_name_plural": "workflows",
                "db_table": "infinitic_instance",
                "permissions": [
                    ("operate_workflow", "Can operate workflows (retry, cancel, send, complete)"),
                    ("start_workflow", "Can start workflows"),
                    ("view_payload", "Can view payloads of workflows"),
                ],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(
                        fields=["name", "status", "created_at"], name="infinitic_instance_list"
                    ),
                    models.Index(
                        fields=["waiting_kind", "waiting_since"], name="infinitic_instance_waits"
                    ),
                ],
            },
        ),
        VendorSQL(
            "message",
            {
                # The writing transaction: with it a reader knows what it may still have missed.
                "postgresql": [
                    "ALTER TABLE infinitic_message"
                    " ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()",
                    "CREATE INDEX infinitic_message_queue ON infinitic_message (part, xid, id)"
                    " WHERE NOT parked",
                    "CREATE INDEX infinitic_message_parked ON infinitic_message (part) WHERE parked",
                    f"ALTER TABLE infinitic_message SET ({BUSY})",
                ],
                "sqlite": [
                    "CREATE INDEX infinitic_message_queue ON infinitic_message (part, id)"
                    " WHERE NOT parked",
                    "CREATE INDEX infinitic_message_parked ON infinitic_message (part) WHERE parked",
                ],
                "mysql": [
                    "CREATE INDEX infinitic_message_queue ON infinitic_message (part, parked, id)",
                ],
            },
        ),
        VendorSQL(
            "task",
            {
                "postgresql": [
                    "CREATE INDEX infinitic_task_queue ON infinitic_task"
                    " (service, priority DESC, ready_at, id) WHERE state = 0",
                    f"ALTER TABLE infinitic_task SET (fillfactor = 85, {BUSY})",
                ],
                "sqlite": [
                    "CREATE INDEX infinitic_task_queue ON infinitic_task"
                    " (service, priority DESC, ready_at, id) WHERE state = 0",
                ],
                "mysql": [
                    "CREATE INDEX infinitic_task_queue ON infinitic_task"
                    " (state, service, priority, ready_at, id)",
                ],
            },
        ),
        VendorSQL(
            "workflowinstance",
            {
                "postgresql": [
                    "CREATE INDEX infinitic_instance_closed ON infinitic_instance (closed_at)"
                    " WHERE closed_at IS NOT NULL",
                    "CREATE INDEX infinitic_instance_custom_id ON infinitic_instance (custom_id)"
                    " WHERE custom_id IS NOT NULL",
                    f"ALTER TABLE infinitic_instance SET (fillfactor = 85, {BUSY})",
                ],
                "sqlite": [
                    "CREATE INDEX infinitic_instance_closed ON infinitic_instance (closed_at)"
                    " WHERE closed_at IS NOT NULL",
                    "CREATE INDEX infinitic_instance_custom_id ON infinitic_instance (custom_id)"
                    " WHERE custom_id IS NOT NULL",
                ],
                "mysql": [
                    "CREATE INDEX infinitic_instance_closed ON infinitic_instance (closed_at)",
                    "CREATE INDEX infinitic_instance_custom_id ON infinitic_instance (custom_id)",
                ],
            },
        ),
        *(
            VendorSQL(model, {"postgresql": [f"ALTER TABLE infinitic_{model} SET ({BUSY})"]})
            for model in ("event", "timer", "outcome", "tag", "part", "worker")
        ),
    ]
