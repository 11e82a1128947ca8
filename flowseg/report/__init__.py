"""A page to look through results with: a list of images, and each one large, its cells under the pointer.

`view.encode` makes the file of one image, `page.document` the page of all. The page works from a disk: views are
scripts that it loads when they are wanted.
"""
