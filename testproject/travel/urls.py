"""The pages of the travel app."""

from django.urls import path

from . import views

app_name = "travel"

urlpatterns = [
    path("trips/", views.book, name="book"),
    path("trips/<int:pk>/", views.trip, name="trip"),
    path("trips/<int:pk>/approval/", views.approval, name="approval"),
]
