"""The pages of the example site."""

from django.contrib import admin
from django.urls import include, path

from testproject.travel import views

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("testproject.travel.urls")),
    path("admin/", admin.site.urls),
]
