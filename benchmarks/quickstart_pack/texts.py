"""The texts of planted faults, all made up; hosts are example.com."""

BOILERPLATE = (
    "image not found",
    "IMG_2034.JPG",
    "click to enlarge",
    "DSC00012",
    "Stock photo - buy now at www.example.com",
    "untitled",
    "Image may contain: one or more objects",
    "loading...",
    "thumbnail",
    "DSC_0847.jpg",
    "Photo 3 of 27",
    "Download this picture in high resolution",
    "IMG-20190714-WA0003",
    "no description available",
    "All rights reserved. Image courtesy of example.com",
    "Share on social media",
    "placeholder.png",
    "screenshot 2019-03-02 at 10.14.55",
    "Advertisement",
    "This image has been removed",
)

LONG_SENTENCES = (
    "Free delivery on all orders of more than fifty, usually sent within two working days.",
    "Add it to your basket now and pay later, or ask for a quotation for larger quantities.",
    "Customers who bought this also looked at posters, mugs, calendars, cushions and phone cases.",
    "Please note that colours on your screen may differ from those of the delivered article.",
    "Sign up for our newsletter at www.example.com and get ten percent off your first order.",
    "We use cookies to improve our services; by going on you accept our terms and conditions.",
    "Not the right size? You can send it back within thirty days and we refund the full price.",
    "Tags: best, cheap, new, sale, gift, idea, decor, wall, print, home, office, family, offer.",
)

WEB_PAGES = (
    "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    "<body><h1>Not Found</h1><p>The picture was moved.</p></body></html>\n",
    "<html><body onload=\"window.location='https://www.example.com/login'\">\n"
    "<p>Please sign in to see this picture.</p></body></html>\n",
)

# Captions of files that never were pictures.
LOST_CAPTIONS = (
    "A red bicycle leaning against a brick wall",
    "An old lighthouse on a rocky coast in the evening",
    "A basket of fresh bread on a market stall",
)
