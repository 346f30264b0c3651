-- The rows: user maria with a group, a permission of her own, a password, an auth token and refresh tokens.
-- The hash was computed by Django from `correct horse battery staple` with 1,000 iterations.

-- app: auth
INSERT INTO django_migrations (app, name, applied) VALUES
  ('contenttypes', '0001_initial', '2023-11-05 01:29:58.120004'),
  ('contenttypes', '0002_remove_content_type_name', '2023-11-05 01:29:58.131711'),
  ('auth', '0001_initial', '2023-11-05 01:29:58.204400'),
  ('auth', '0002_alter_permission_name_max_length', '2023-11-05 01:29:58.210012'),
  ('auth', '0003_alter_user_email_max_length', '2023-11-05 01:29:58.214990'),
  ('auth', '0004_alter_user_username_opts', '2023-11-05 01:29:58.219101'),
  ('auth', '0005_alter_user_last_login_null', '2023-11-05 01:29:58.225620'),
  ('auth', '0006_require_contenttypes_0002', '2023-11-05 01:29:58.227734'),
  ('auth', '0007_alter_validators_add_error_messages', '2023-11-05 01:29:58.231333'),
  ('auth', '0008_alter_user_username_max_length', '2023-11-05 01:29:58.240020'),
  ('auth', '0009_alter_user_last_name_max_length', '2023-11-05 01:29:58.246101'),
  ('auth', '0010_alter_group_name_max_length', '2023-11-05 01:29:58.252525'),
  ('auth', '0011_update_proxy_permissions', '2023-11-05 01:29:58.260100'),
  ('auth', '0012_alter_user_first_name_max_length', '2023-11-05 01:29:59'),
  ('admin', '0001_initial', '2023-11-05 01:29:59.101010'),
  ('admin', '0002_logentry_remove_auto_add', '2023-11-05 01:29:59.111111'),
  ('admin', '0003_logentry_add_action_flag_choices', '2023-11-05 01:29:59.121212'),
  ('sessions', '0001_initial', '2023-11-05 01:29:59.303030');
INSERT INTO django_content_type (app_label, model) VALUES
  ('auth', 'permission'), ('auth', 'group'), ('auth', 'user'), ('contenttypes', 'contenttype');
INSERT INTO auth_permission (name, content_type_id, codename) VALUES
  ('Can add user', 3, 'add_user'), ('Can change user', 3, 'change_user'),
  ('Can delete user', 3, 'delete_user'), ('Can view user', 3, 'view_user');
INSERT INTO auth_group (name) VALUES ('editors');
INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (1, 2), (1, 4);
INSERT INTO auth_user
  (password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
VALUES (
  'pbkdf2_sha256$1000$4Sx0sYvZkqNwPLhVbT9uEc$sxpr/7C8k0o+pAWdtvwVpwck6XoLWCn3bwErq89WZeI=',
  '2024-05-17 09:30:00.123456', FALSE, 'maria', 'María', 'Ünal', 'maria@example.com', TRUE, TRUE, '2023-11-05 01:30:00'
);
INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1);
INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (1, 1);
INSERT INTO django_session (session_key, session_data, expire_date) VALUES
  ('r3a0o2v1p6d9x8c7z5q4w1e2t3y4u5i6', 'e30:1rabcd:signature', '2024-05-31 09:30:00.654321');
INSERT INTO django_admin_log
  (action_time, object_id, object_repr, action_flag, change_message, content_type_id, user_id)
VALUES ('2024-05-17 09:31:00', '1', 'maria', 2, '[{"changed": {"fields": ["Groups"]}}]', 3, 1);

-- app: authtoken
INSERT INTO django_migrations (app, name, applied) VALUES
  ('authtoken', '0001_initial', '2023-11-05 01:30:01.000500'),
  ('authtoken', '0002_auto_20160226_1747', '2023-11-05 01:30:01.010500'),
  ('authtoken', '0003_tokenproxy', '2023-11-05 01:30:01.020500'),
  ('authtoken', '0004_alter_tokenproxy_options', '2023-11-05 01:30:01.030500');
INSERT INTO authtoken_token (key, created, user_id) VALUES
  ('9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b', '2023-11-05 01:31:00.000001', 1);

-- app: token_blacklist
INSERT INTO django_migrations (app, name, applied) VALUES
  ('token_blacklist', '0001_initial', '2023-11-05 01:30:02.000001'),
  ('token_blacklist', '0002_outstandingtoken_jti_hex', '2023-11-05 01:30:02.000002'),
  ('token_blacklist', '0003_auto_20171017_2007', '2023-11-05 01:30:02.000003'),
  ('token_blacklist', '0004_auto_20171017_2013', '2023-11-05 01:30:02.000004'),
  ('token_blacklist', '0005_remove_outstandingtoken_jti', '2023-11-05 01:30:02.000005'),
  ('token_blacklist', '0006_auto_20171017_2113', '2023-11-05 01:30:02.000006'),
  ('token_blacklist', '0007_auto_20171017_2214', '2023-11-05 01:30:02.000007'),
  ('token_blacklist', '0008_migrate_to_bigautofield', '2023-11-05 01:30:02.000008'),
  ('token_blacklist', '0010_fix_migrate_to_bigautofield', '2023-11-05 01:30:02.000010'),
  ('token_blacklist', '0011_linearizes_history', '2023-11-05 01:30:02.000011'),
  ('token_blacklist', '0012_alter_outstandingtoken_user', '2023-11-05 01:30:02.000012'),
  ('token_blacklist', '0013_alter_blacklistedtoken_options_and_more', '2023-11-05 01:30:02.000013');
INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) VALUES
  ('first.of.maria', '2024-05-17 09:30:00.123456', '2124-05-18 09:30:00', 1, '00000000000000000000000000000001'),
  ('second.of.maria', '2024-05-17 09:30:00', '2124-05-18 09:30:00', 1, '00000000000000000000000000000002'),
  ('of.nobody', NULL, '2024-05-18 09:30:00', NULL, '00000000000000000000000000000003');
INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) VALUES ('2024-05-17 10:00:00.000009', 1);
